upstream {
  destination_addresses = ["10.0.0.1:6379"]
  local_bind_port       = 1
}
