service_name = "web"

public_listener {
  bind_port             = 8080
  local_service_address = "127.0.0.1:8080"
}

upstream {
  destination_name = "db"
  local_bind_port  = 8080
}

upstream {
  destination_name       = "cache"
  local_bind_socket_path = "/run/cache.sock"
  local_bind_port        = 9000
}

upstream {
  destination_name       = "queue"
  local_bind_socket_path = "/run/../run/cache.sock"
  local_bind_socket_mode = "01777"
}

upstream {
  destination_name   = "ledger"
  local_bind_address = "10.0.0.300"
}

upstream {
  destination_name       = "mail"
  local_bind_socket_mode = "rw"
}
