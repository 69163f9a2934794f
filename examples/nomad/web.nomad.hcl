# A Nomad job whose service has connect-proxy for its sidecar. A changed driver
# replaces the whole configuration of the task that Nomad would make for Envoy.
#
# Nomad still asks the agent for Envoy's bootstrap before the task: the client
# needs the consul binary and the agent's gRPC port, though nothing uses them.
#
# The sidecar reaches the agent by its HTTP API. The network namespace of the group
# is not the host's, so it takes one of these, the first of which is used below:
#
#  - the agent is bound to an address of the host (client_addr);
#  - the agent's own unix socket (addresses { http = "unix:///run/consul/http.sock" })
#    is mounted by a host volume: CONSUL_HTTP_ADDR = "unix:///run/consul/http.sock";
#  - the group has a task of a Connect native service, for which Nomad mounts a
#    socket: CONSUL_HTTP_ADDR = "unix:///alloc/tmp/consul_http.sock".
#
# A task that must not start before its sidecar is ready waits for the word LIVE on
# one of the addresses that Nomad gives an Envoy: 127.0.0.1, port 19100 and the
# number of the sidecar's task in its group, counted from 0.
job "web" {
  group "web" {
    network {
      mode = "bridge"
    }

    service {
      name = "web"
      port = "8080"

      connect {
        sidecar_service {
          proxy {
            upstreams {
              destination_name = "db"
              local_bind_port  = 8181
            }
          }
        }

        sidecar_task {
          driver = "exec"

          config {
            command = "/usr/bin/connect-proxy"
            # The ID that Nomad gives the proxy: service and port label are the
            # job's, the rest is in the environment.
            args = [
              "-proxy-id", "_nomad-task-${NOMAD_ALLOC_ID}-group-${NOMAD_GROUP_NAME}-web-8080-sidecar-proxy",
            ]
          }

          env {
            CONSUL_HTTP_ADDR = "http://${attr.unique.network.ip-address}:8500"
          }

          # Connections are waited for 4 s unless the task has more time; then say
          # so to the proxy too, with -drain-timeout.
          kill_timeout = "5s"

          resources {
            cpu    = 100
            memory = 64
          }
        }
      }
    }

    task "web" {
      driver = "exec"

      config {
        command = "/usr/bin/python3"
        args    = ["-m", "http.server", "8080", "--bind", "127.0.0.1"]
      }
    }
  }
}
