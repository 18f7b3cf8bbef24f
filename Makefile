# The commands of this project. Each sets up what it needs; `make help` lists them.

SHELL := /bin/bash
BIN := bin
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# The race detector needs a C compiler. Where there is none the tests run without it, and say so.
RACE := $(shell command -v $$(go env CC) >/dev/null 2>&1 && echo -race)

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build, and run the demo in ./demo (stop it with Ctrl-C; ARGS="--port 20250" passes flags)
	@exec $(BIN)/fauxlet demo --dir demo $(ARGS)

.PHONY: build
build: ## build bin/fauxlet, a static binary
	@mkdir -p $(BIN)
	CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o $(BIN)/fauxlet ./cmd/fauxlet

.PHONY: test
test: ## run the tests of the module
	@[ -n "$(RACE)" ] || echo "no C compiler: the tests run without the race detector" >&2
	go test -count=1 . # what it looks at, go list, is not known to the cache of results
	go test $(RACE) ./...

.PHONY: e2e
e2e: ## run the tests against the real etcd, kube-apiserver, kubectl and kubelet server (the first build takes about 20 minutes; ARGS=-short runs the quick ones)
	cd e2e && CGO_ENABLED=0 go run ./preflight
	cd e2e && CGO_ENABLED=0 go test -count=1 -timeout 80m $(ARGS) ./...

.PHONY: fuzz
fuzz: ## run each fuzz target for a while (FUZZTIME=30s); what they found before is run by make test
	@set -e; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 20x $$package; done; done

.PHONY: bench
bench: ## measure one request and one long log beside a bare net/http server, and with the trace on and off (and the kubelet's own, once make e2e has built it), and print the ratios
	CGO_ENABLED=0 go test ./server -run '^$$' -bench '^Benchmark(Beside|Trace)' -benchtime 1x -timeout 15m
	@if compgen -G "$${FAUXLET_E2E_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/fauxlet-e2e}/*/reference-*" >/dev/null; then \
		cd e2e && CGO_ENABLED=0 go test -run '^$$' -bench '^BenchmarkBesideKubelet' -benchtime 1x -timeout 15m ./same; \
	else echo "not measured beside the kubelet's own server: make e2e builds it"; fi

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, govulncheck
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
		[ -z "$$unformatted" ] || { echo "gofmt these files:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	cd e2e && CGO_ENABLED=0 go vet ./...
	go run $(STATICCHECK) ./...
	@set -o pipefail; out=$$(mktemp); trap 'rm -f $$out' EXIT; \
		if go run $(GOVULNCHECK) ./... >$$out 2>&1; then echo "govulncheck: no known vulnerability is reached"; \
		elif grep -qE 'Vulnerability #' $$out; then cat $$out; exit 1; \
		else echo "govulncheck: NOT RUN, its data could not be had:"; tail -3 $$out; fi

.PHONY: image
image: build ## build the container image with buildah, from no base image at all (IMAGE names it)
	STORAGE_DRIVER=$(or $(STORAGE_DRIVER),vfs) buildah bud --isolation chroot --target binary --tag $(or $(IMAGE),fauxlet:$(VERSION)) .

.PHONY: clean
clean: ## remove what was built, and the demo's folder
	rm -rf $(BIN) demo
