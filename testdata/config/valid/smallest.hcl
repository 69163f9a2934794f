service_name = "batch"

upstream {
  destination_name = "db"
  local_bind_port  = 9191
}
