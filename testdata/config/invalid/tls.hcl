service_name     = "web"
tls_records      = "kernel"
tls_key_exchange = "quantum"

public_listener {
  bind_port             = 8443
  local_service_address = "127.0.0.1:8080"
}
