identity "a" {
  cert_file = "c.pem"
  ca_file   = "ca.pem"
}
public_listener {
  bind_port             = 1
  local_service_address = "127.0.0.1:2"
}
