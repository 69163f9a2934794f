service_name = "web"

by_name {
  bind_port = 1080
  users     = [{ name = "shop", permit = ["db"] }]
}

by_name {
  bind_port = 1081
}

upstream {
  destination_name = "db"
  local_bind_port  = 1080
}
