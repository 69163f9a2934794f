service_name            = "web"
max_stale_authorization = "-1s"
max_stale_endpoints     = "-2s"
drain_timeout           = "-3s"

public_listener {
  bind_port                = 21000
  local_service_address    = "127.0.0.1:0"
  local_connect_timeout_ms = -4
  handshake_timeout_ms     = "-5"
  local_idle_timeout_ms    = -6
  max_inbound_connections  = -7
  max_lifetime             = "-8s"
  half_close_timeout       = "-9s"
  alpn                     = [""]
}

upstream {
  destination_name   = "db"
  local_bind_port    = -10
  connect_timeout_ms = 1e30

  limits {
    max_connections = -11
  }

  passive_health_check {
    interval     = "-12s"
    max_failures = 1.5
  }
}
