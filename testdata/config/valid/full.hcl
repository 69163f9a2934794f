service_name            = "web"
service_id              = "web-1"
namespace               = "shop"
partition               = "north"
max_stale_authorization = "5m"
max_stale_endpoints     = "2h"
drain_timeout           = "12s"
tls_records             = "crypto/tls"
tls_key_exchange        = "hybrid"
access_log              = "errors"

access_logs {
  enabled               = true
  disable_listener_logs = true
  type                  = "file"
  path                  = "/var/log/connect-proxy/access.log"
  text_format           = "%START_TIME% %CONNECT_REASON%"
}

public_listener {
  bind_address             = "0.0.0.0"
  bind_port                = 21000
  local_service_address    = "127.0.0.1:8080"
  local_connect_timeout_ms = 1500
  local_proxy_protocol     = "v2"
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

by_name {
  bind_port       = 1080
  host_names      = ["proxy.example.com", "shop-1"]
  allow           = ["db", "team-*", "*@dc2", "near.query"]
  route           = "path"
  keep_path       = true
  dns_domain      = "example.org"
  max_connections = 500

  users = [
    { name = "shop", password = "a word", allow = ["mail"] },
    { name = "cron", allow = ["*"] },
  ]
}

micro {
  bind_port       = 8086
  host_names      = ["proxy.example.com"]
  allow           = ["greeter", "go.micro.srv.*"]
  register        = ["web", "web-*"]
  topics          = ["orders", "user.*"]
  namespace       = "com.example"
  handler         = "proxy"
  max_connections = 600
  server_name     = "web"
  server_address  = "10.0.0.1:8080"
  healthcheck_url = "http://127.0.0.1:8080/health"
}

dynamic_upstreams {
  connect_timeout_ms = 1500
  balance            = "random"
  idle_timeout       = "10m"

  limits {
    max_connections = 9
  }

  passive_health_check {
    max_failures = 2
  }

  mesh_gateway {
    mode = "remote"
  }
}
