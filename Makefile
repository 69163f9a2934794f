# make          this list
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Every flag of the project's Go commands is said here and nowhere else.
LINT  := go tool -modfile=testdata/lint/go.mod golangci-lint
ETCD  := cd upstream/etcd && go
AGENTS := go run ./connectproxy/agenttest/agentbuild/cmd
CROSS := linux/amd64 linux/arm64 darwin/arm64 windows/amd64

.PHONY: build-etcd dist packages packages-check help build demo test test-crypto-tls cross lint check bench bench-go clean

help:
	@echo 'make build   build ./connect-proxy'
	@echo 'make build-etcd  build ./connect-proxy with etcd as a source of destinations'
	@echo 'make demo    a mesh of two services under a real Consul agent, from nothing'
	@echo 'make test    every test, real agents and applications included'
	@echo 'make test-crypto-tls  the tests of the program with the other choice of TLS'
	@echo 'make cross   build for $(CROSS)'
	@echo 'make lint    gofmt, go vet and golangci-lint'
	@echo 'make check   what CI runs: test, cross, lint'
	@echo 'make bench   compare with other proxies and write docs/performance.md (flags: BENCH=-help)'
	@echo 'make bench-go  the Go benchmarks, COUNT times, for benchstat'
	@echo 'make packages  .deb, .rpm, SBOM and checksums in bin/dist'
	@echo 'make packages-check  install, run and remove the package of this machine (as root, on Debian)'
	@echo 'make clean   remove what was built here'

build:
	CGO_ENABLED=0 go build -trimpath -o connect-proxy .

# A module of its own: docs/decisions/0013-etcd-apart.md.
build-etcd:
	(export CGO_ENABLED=0; $(ETCD) build -trimpath -o ../../connect-proxy ./connect-proxy)

demo:
	@go run ./connectproxy/agenttest/demo $(if $(KEEP),-keep)

# What these measure the race detector changes, or there is more of it without.
UNRACED := ^(TestFortyClientsAreServedAmongStrangers|TestTenThousandVisitsLeaveNothingBehind|TestAListenerThatWaitsForClientsHasTheSmallestStack|TestAScrapeWithTenThousandConnectionsTakesUnderFiftyMilliseconds|TestSlowScrapersOfManyAddressesKeepNobodyOut)$$

# The agents are built before the tests, since go test would keep the lines that
# say so to itself for minutes. The probe is the real thing: a compiler without
# its headers is no compiler. One package is tested at a time: what an agent and
# its proxies do within seconds is asserted, and two processors are few for that.
# No result is taken from go test's cache: it keeps that a test was skipped for want
# of a program, and does not know of one that is installed later.
test:
	@$(AGENTS) managed modern >/dev/null
	@for program in redis-server redis-cli redis-benchmark etcd nginx initdb postgres psql pgbench nc proxychains4 ip nsenter setpriv python3 curl git prometheus promtool stunnel ghostunnel bash fish zsh; do \
		command -v $$program >/dev/null || test -x /usr/sbin/$$program || ls /usr/lib/postgresql/*/bin/$$program >/dev/null 2>&1 || \
			echo "make test: $$program is not installed, so the tests through it are skipped"; \
	done
	@for variable in BOGO_RUNNER CONNECT_PROXY_ENVOY; do \
		printenv $$variable >/dev/null || echo "make test: $$variable is not set, so the tests of the program that it names are skipped"; \
	done
	@command -v nc >/dev/null && ! nc -h 2>&1 | grep -q 'Shutdown the network socket after EOF' && \
		echo "make test: nc is not OpenBSD's, which netcat-openbsd has, so the tests through it are skipped" || true
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		echo 'make test: none of chromium, chromium-browser and google-chrome is installed, so the tests in a browser are skipped'
	@test "$$(id -u)" = 0 || echo 'make test: not root, so the tests that need files of other users are skipped'
	@test "$$(uname)" != Linux || unshare -m mount -t tmpfs tmpfs /tmp 2>/dev/null || \
		echo 'make test: no file system can be mounted, which takes root with CAP_SYS_ADMIN and AppArmor to allow it, so the tests on a full disk are skipped'
	@test "$$(uname)" != Linux || unshare -n ip link add type veth 2>/dev/null || \
		echo 'make test: no network namespaces can be connected, which takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN, ip, and veth in the kernel, so the tests between them are skipped'
	@test "$$(uname)" != Linux || grep -qs ' lo$$' /proc/net/if_inet6 || \
		echo 'make test: the loopback has no IPv6 (::1), so what tests do with it is left out'
	@descriptors=$$(ulimit -Hn); test "$$descriptors" = unlimited || test "$$descriptors" -ge 8192 || \
		echo "make test: the hard limit of file descriptors, ulimit -Hn, is $$descriptors, so the test that takes 8192 is skipped"
	@if CGO_ENABLED=1 go build -race -o /dev/null runtime/cgo 2>/dev/null; then \
		echo 'make test: with the race detector'; \
		CGO_ENABLED=1 go test -race -count=1 -p 1 -timeout 30m ./... && \
		(export CGO_ENABLED=1; $(ETCD) test -race -count=1 ./...) && \
		go test -count=1 -run '$(UNRACED)' ./listener ./connectproxy/metrics; \
	else \
		echo 'make test: WITHOUT the race detector, for want of a C compiler'; \
		go test -count=1 -p 1 -timeout 30m ./... && ($(ETCD) test -count=1 ./...); \
	fi

# The program's tests once more, with records that are crypto/tls's.
test-crypto-tls:
	@CONNECT_PROXY_TLS_RECORDS=crypto/tls CONNECT_PROXY_TLS_KEY_EXCHANGE=hybrid \
		go test -count=1 -timeout 30m -run Test ./connectproxy/cli ./connectproxy ./connectproxy/systemtest

cross:
	@for target in $(CROSS); do \
		echo "building for $$target"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build -o /dev/null . || exit 1; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go vet ./... || exit 1; \
		(export CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/}; $(ETCD) vet ./...) || exit 1; \
	done

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is wanted for: $$unformatted"; exit 1; fi
	go vet ./...
	$(ETCD) vet ./...
	@echo 'the linter is built on its first run, which takes some minutes'
	$(LINT) run
	linter=$$(go tool -modfile=testdata/lint/go.mod -n golangci-lint) && cd upstream/etcd && $$linter run

check:
	.ci/run

# A binary of its own: Ctrl-C reaches it and make waits until it has cleaned up.
bench:
	@go build -o bin/bench ./connectproxy/bench && exec bin/bench $(BENCH)

COUNT ?= 6
bench-go:
	go test -run '^$$' -bench . -benchmem -count $(COUNT) ./...

# Packages for the machines that are built for: program, units, manual pages. What
# they are made with is pinned in a module of its own.
PACKAGING := go tool -modfile=testdata/packaging/go.mod
PACKAGES  ?= amd64 arm64
VERSION   := $(shell sed -n 's/^const version = "\(.*\)"$$/\1/p' connectproxy/cli/version.go)

dist:
	@mkdir -p bin/dist/man bin/dist/completion
	@for arch in $(PACKAGES); do \
		echo "building for linux/$$arch"; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -trimpath -buildvcs=false -ldflags=-s \
			-o bin/dist/connect-proxy-linux-$$arch . || exit 1; \
	done
	@for shell in bash zsh fish; do go run . completion $$shell > bin/dist/completion/$$shell || exit 1; done
	@go run ./connectproxy/cli/manpages README.md bin/dist/man
	@for page in connect-proxy.1 connect-proxy.hcl.5; do \
		$(PACKAGING) go-md2man -in bin/dist/man/$$page.md -out bin/dist/man/$$page && gzip -9nf bin/dist/man/$$page || exit 1; \
	done

packages: dist
	@for arch in $(PACKAGES); do for format in deb rpm; do \
		ARCH=$$arch VERSION=$(VERSION) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
			$(PACKAGING) nfpm package -f packaging/nfpm.yaml -p $$format -t bin/dist/ || exit 1; \
	done; done
	@$(PACKAGING) cyclonedx-gomod mod -licenses -json -output bin/dist/connect-proxy.cdx.json .
	@cd bin/dist && sha256sum connect-proxy-linux-* *.deb *.rpm > SHA256SUMS

# As root on Debian: two builds are one, and a package is put on this machine,
# run and taken off again.
packages-check:
	@packaging/check.sh

clean:
	rm -rf connect-proxy bin/bench bin/dist
