service_name = "web"

public_listener {
  bind_port = 21000
  local_service_address = "127.0.