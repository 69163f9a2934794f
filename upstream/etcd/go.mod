module connect-proxy/upstream/etcd

go 1.26.0

require (
	github.com/hashicorp/go-hclog v1.5.0
	go.etcd.io/etcd/api/v3 v3.7.3
	go.etcd.io/etcd/client/v3 v3.7.3
	go.uber.org/goleak v1.3.0
	go.uber.org/zap v1.27.1
	google.golang.org/grpc v1.83.2
	google.golang.org/genproto v0.0.0-20260803160001-6ac0973c030d
)
