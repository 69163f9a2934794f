service_name = "web"

identity "old" {
  pkcs12_file          = "/etc/web/old.p12"
  pkcs12_password_file = "/etc/web/old.password"
}

identity "new" {
  cert_file = "/etc/web/both.pem"
  ca_file   = "/etc/web/ca.pem"
}

public_listener {
  bind_port             = 8443
  local_service_address = "127.0.0.1:8080"
}

upstream {
  destination_name = "db"
  identity         = "consul"
  local_bind_port  = 5432
}

upstream {
  destination_addresses = ["10.0.0.1:443"]
  identity              = "old"
  local_bind_port       = 8001
}

upstream {
  destination_addresses = ["10.0.0.2:443"]
  identity              = "new"
  local_bind_port       = 8002
}
