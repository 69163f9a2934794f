# Certificates from files, without Consul.
identity "files" {
  cert_file = "/etc/redis/cert.pem"
  key_file  = "/etc/redis/key.pem"
  ca_file   = "/etc/redis/ca.pem"
}

public_listener {
  bind_port             = 6380
  local_service_address = "127.0.0.1:6379"
  allow                 = ["spiffe://example.org/ns/*/svc/web", "dns:*.web.example.org", "cn:John Doe"]
}

upstream {
  destination_addresses = ["10.0.3.144:6379", "redis-2.example.org:6379", "[2001:db8::1]:6379"]
  local_bind_port       = 16379
  balance               = "ordered"
  verify                = ["dns:redis.example.org", "spiffe://example.org/redis"]
}

upstream {
  destination_type = "dns"
  destination_name = "redis.example.org:6379"
  local_bind_port  = 16380
}

upstream {
  destination_name      = "replicas"
  destination_addresses = ["10.0.3.145:6379"]
  local_bind_port       = 16381
  identity              = "plaintext"
}

upstream {
  destination_type = "dns"
  destination_name = "_redis._tcp.example.org"
  local_bind_port  = 16382
  verify           = ["dns:*.redis.example.org"]
}
