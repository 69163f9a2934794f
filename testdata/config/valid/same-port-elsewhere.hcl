# One port, on addresses that do not include each other.
service_name = "web"

public_listener {
  bind_address          = "10.0.0.5"
  bind_port             = 8080
  local_service_address = "localhost:8080"
}

upstream {
  destination_name   = "db"
  local_bind_address = "127.0.0.2"
  local_bind_port    = 8080
}

upstream {
  destination_name   = "cache"
  local_bind_address = "127.0.0.3"
  local_bind_port    = 8080
}
