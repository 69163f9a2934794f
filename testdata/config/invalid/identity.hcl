identity "consul" {
  cert_file = "c.pem"
  ca_file   = "ca.pem"
}
identity "a" {
  cert_file   = "c.pem"
  pkcs12_file = "c.p12"
}
identity "a" {
  pkcs12_file = "c.p12"
  key_file    = "k.pem"
}
identity "b" {
  key_file             = "k.pem"
  pkcs12_password_file = "p"
  certificate          = "c.pem"
}
identity {
  cert_file = "c.pem"
}
identity "c" "d" {
  cert_file = "c.pem"
  ca_file   = "ca.pem"
}
public_listener {
  bind_port             = 1
  local_service_address = "127.0.0.1:2"
  identity              = "z"
  allow                 = ["web", "dns:*", "cn:good"]
}
upstream {
  destination_addresses = ["10.0.0.1", ":80", "0.0.0.0:80", "unix:/x", "10.0.0.1:99999", "10.0.0.1:80"]
  local_bind_port       = 3
}
upstream {
  destination_addresses = "10.0.0.1:80"
  local_bind_port       = 4
  identity              = "plaintext"
  verify                = ["dns:a.b"]
}
upstream {
  destination_type = "addresses"
  datacenter       = "dc1"
  identity         = "b"
  local_bind_port  = 5
}
upstream {
  destination_type = "dns"
  destination_name = "_redis._tcp.example.org"
  identity         = "b"
  local_bind_port  = 6
}
upstream {
  destination_type = "dns"
  destination_name = "_redis._tcp.example.org:6379"
  identity         = "b"
  verify           = ["spiffe://*"]
  local_bind_port  = 7
}
upstream {
  destination_type = "dns"
  destination_name = "10.0.0.1:80"
  identity         = "b"
  local_bind_port  = 8
}
upstream {
  destination_name      = "db"
  destination_addresses = ["10.0.0.1:80"]
  destination_type      = "service"
  identity              = "b"
  local_bind_port       = 9
}
