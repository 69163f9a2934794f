# make          this list
SHELL := /bin/sh
.DEFAULT_GOAL := help

# Every flag of the project's Go commands is said here and nowhere else.
LINT  := go tool -modfile=testdata/lint/go.mod golangci-lint
AGENTS := go run ./connectproxy/agenttest/agentbuild/cmd
CROSS := linux/amd64 linux/arm64 darwin/arm64 windows/amd64

.PHONY: help build demo test test-crypto-tls cross lint check bench bench-go clean

help:
	@echo 'make build   build ./connect-proxy'
	@echo 'make demo    a mesh of two services under a real Consul agent, from nothing'
	@echo 'make test    every test, real agents and applications included'
	@echo 'make test-crypto-tls  the tests of the program with the other choice of TLS'
	@echo 'make cross   build for $(CROSS)'
	@echo 'make lint    gofmt, go vet and golangci-lint'
	@echo 'make check   what CI runs: test, cross, lint'
	@echo 'make bench   compare with other proxies and write docs/performance.md (flags: BENCH=-help)'
	@echo 'make bench-go  the Go benchmarks, COUNT times, for benchstat'
	@echo 'make clean   remove what was built here'

build:
	CGO_ENABLED=0 go build -trimpath -o connect-proxy .

demo:
	@go run ./connectproxy/agenttest/demo $(if $(KEEP),-keep)

# The agents are built before the tests, since go test would keep the lines that
# say so to itself for minutes. The probe is the real thing: a compiler without
# its headers is no compiler. One package is tested at a time: what an agent and
# its proxies do within seconds is asserted, and two processors are few for that.
test:
	@$(AGENTS) managed modern >/dev/null
	@for program in redis-server nginx psql nc ip setpriv; do \
		command -v $$program >/dev/null || test -x /usr/sbin/$$program || \
			echo "make test: $$program is not installed, so the tests through it are skipped"; \
	done
	@if CGO_ENABLED=1 go build -race -o /dev/null runtime/cgo 2>/dev/null; then \
		echo 'make test: with the race detector'; \
		CGO_ENABLED=1 go test -race -p 1 -timeout 30m ./... && \
		go test -count=1 -run TestFortyClientsAreServedAmongStrangers ./listener; \
	else \
		echo 'make test: WITHOUT the race detector, for want of a C compiler'; \
		go test -p 1 -timeout 30m ./...; \
	fi

# The program's tests once more, with records that are crypto/tls's.
test-crypto-tls:
	@CONNECT_PROXY_TLS_RECORDS=crypto/tls CONNECT_PROXY_TLS_KEY_EXCHANGE=hybrid \
		go test -count=1 -timeout 30m -run 'Test' . ./connectproxy

cross:
	@for target in $(CROSS); do \
		echo "building for $$target"; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go build -o /dev/null . || exit 1; \
		CGO_ENABLED=0 GOOS=$${target%/*} GOARCH=$${target#*/} go vet ./... || exit 1; \
	done

lint:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w is wanted for: $$unformatted"; exit 1; fi
	go vet ./...
	@echo 'the linter is built on its first run, which takes some minutes'
	$(LINT) run

check:
	.ci/run

# A binary of its own: Ctrl-C reaches it and make waits until it has cleaned up.
bench:
	@go build -o bin/bench ./connectproxy/bench && exec bin/bench $(BENCH)

COUNT ?= 6
bench-go:
	go test -run '^$$' -bench . -benchmem -count $(COUNT) ./...

clean:
	rm -f connect-proxy bin/bench
