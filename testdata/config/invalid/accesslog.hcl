service_name = "web"
access_log   = "some"

access_logs {
  enabled     = "perhaps"
  type        = "syslog"
  path        = "/dev/log"
  json_format = "[]"
  text_format = "%DURATION%"
}

upstream {
  destination_name = "db"
  local_bind_port  = 9191
}
