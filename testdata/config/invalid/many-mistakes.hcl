service_nmae  = "web"
drain_timeout = 30

public_listener {
  bind_port             = "70000"
  local_service_address = "localhost"
  handshake_timeout_ms  = true
  local_connect_timeout = "2s"
  tls_min_version       = "TLSv1_1"
  alpn                  = "h2"

  limits {
    max_connections = 3
  }
}

upstream {
  destination_name   = "db"
  local_bind_port    = 9000
  connect_timeout_ms = -5
  balance            = "rr"
  limits             = { max_connections = 3 }

  passive_health_check {
    interval = "10"
    failures = 3
  }

  mesh_gateway {
    mode = "near"
  }
}

upstream {
  destination_type       = "peer"
  local_bind_address     = "0.0.0.0"
  local_bind_port        = 9000
  local_bind_socket_mode = 0600
  idle_timeout           = a_minute
}

public_listener {
  bind_port = 7000
}
