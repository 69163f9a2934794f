service_name            = "web"
service_id              = "web-1"
namespace               = "shop"
partition               = "north"
max_stale_authorization = "5m"
max_stale_endpoints     = "2h"
drain_timeout           = "12s"
tls_records             = "crypto/tls"
tls_key_exchange        = "hybrid"

public_listener {
  bind_address             = "0.0.0.0"
  bind_port                = 21000
  local_service_address    = "127.0.0.1:8080"
  local_connect_timeout_ms = 1500
  handshake_timeout_ms     = "4000"
  local_idle_timeout_ms    = 90000
  max_inbound_connections  = 250
  tls_min_version          = "TLSv1_3"
  alpn                     = ["h2", "http/1.1"]
  max_lifetime             = "24h"
  half_close_timeout       = "90s"
}

upstream {
  destination_name      = "db"
  destination_namespace = "data"
  destination_partition = "north" # the proxy's own
  local_bind_port       = 9191
  connect_timeout_ms    = 2500
  balance               = "round_robin"
  idle_timeout          = "1h"
  max_lifetime          = "8h"
  half_close_timeout    = "30s"

  limits {
    max_connections = 7
  }

  passive_health_check {
    interval     = "20s"
    max_failures = 3
  }

  mesh_gateway {
    mode = "local"
  }
}

upstream {
  destination_type   = "prepared_query"
  destination_name   = "nearest-cache"
  datacenter         = "dc2"
  local_bind_address = "::1"
  local_bind_port    = 9292
}

upstream {
  destination_name       = "queue"
  local_bind_socket_path = "/run/web/queue.sock"
  local_bind_socket_mode = "0660"
}
