service_name = "web"

public_listener {
  bind_socket_path      = "/run/web/public.sock"
  bind_socket_mode      = "0600"
  local_service_address = "unix:/run/web/app.sock"
}
