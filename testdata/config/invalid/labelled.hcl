service_name = "web"

upstream "db" {
  local_bind_port = 9191
}
