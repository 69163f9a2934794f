service_name = "web-${env.NAME}"

upstream {
  destination_name = upper("db")
  local_bind_port  = 9000 + 191
}
