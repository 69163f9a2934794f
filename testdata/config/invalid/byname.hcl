service_name = "web"

by_name {
  bind_address    = "0.0.0.0"
  host_names      = ["*", "proxy:80", "192.0.2.1", ""]
  allow           = ["db", "team *"]
  route           = "header"
  dns_domain      = "no domain"
  max_connections = -1

  users = [
    { name = "shop", allow = ["a@b@c"] },
    { name = "shop" },
    { password = "a word" },
  ]
}

micro {
  bind_address    = "0.0.0.0"
  bind_port       = 1080
  host_names      = ["*.example.com"]
  allow           = ["team *"]
  register        = ["web@dc2", "near.query"]
  namespace       = "no name"
  handler         = "grpc"
  max_connections = -1
  server_name     = "shop"
  server_address  = "10.0.0.256:80"
  healthcheck_url = "http://user:secret@127.0.0.1/health"
}

dynamic_upstreams {
  balance = "best"
}

upstream {
  destination_name = "db"
  local_bind_port  = 1080
}
