service_name = "web"
identity "a" {
  cert_file = "c.pem"
  ca_file   = "ca.pem"
}
public_listener {
  bind_port             = 1
  local_service_address = "127.0.0.1:2"
  allow                 = ["cn:good"]
}
upstream {
  destination_name = "db"
  local_bind_port  = 3
  verify           = ["cn:db"]
}
