service_name = "web"

public_listener {
  bind_port             = 8443
  local_service_address = "127.0.0.1:8080"
  local_proxy_protocol  = "v1"
}
