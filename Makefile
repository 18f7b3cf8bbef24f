# The commands of this project. Each installs or builds what it needs. `make help` lists them.

SHELL := /bin/bash
BIN := bin

# The program is built without cgo. So is everything else except the tests with the race detector, so that all builds share
# one build cache: with cgo, half of the 1,000 packages would be compiled once more.
export CGO_ENABLED := 0
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# With grpcnotrace, gRPC leaves out its trace pages. They use html/template, for which the linker keeps every exported
# method of the program: the binary would be 20 MB larger.
TAGS := grpcnotrace

# PROGRESS reads the output of "go build -v". It counts modules and packages, on one line of a terminal, and prints all
# other lines.
define PROGRESS
{ [ -t 1 ] && every=1 end=$$'\r' || every=200 end=$$'\n'; modules=0 packages=0; \
while IFS= read -r line; do case $$line in \
	"go: downloading "*) ((++modules % every)) || printf '  modules downloaded: %d%b' $$modules "$$end";; \
	*[\ \#:]*) printf '%s\n' "$$line";; \
	*) ((++packages % every)) || printf '  packages compiled: %d   %b' $$packages "$$end";; \
esac; done; [ "$$packages" = 0 ] || printf '  packages compiled: %d   \n' $$packages; }
endef

# Many tests wait for time limits, so that two packages at once for each CPU take less time than one.
PACKAGES := $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
APIDIFF := golang.org/x/exp/cmd/apidiff@v0.0.0-20260410095643-746e56fc9e2f
GORELEASER := github.com/goreleaser/goreleaser/v2@v2.15.1
KREW := sigs.k8s.io/krew/cmd/validate-krew-manifest@v0.5.0

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## build, and run the demo in ./demo (stop it with Ctrl-C; ARGS="--port 20250" passes flags)
	@exec $(BIN)/fauxlet demo --dir demo $(ARGS)

.PHONY: build
build: ## build bin/fauxlet, a static binary
	@mkdir -p $(BIN)
	@[ -e $(BIN)/fauxlet ] || echo "building $(BIN)/fauxlet: the first build downloads 100 modules and compiles 1,000" \
		"packages, which takes 3 to 8 minutes on 2 CPUs; later builds take seconds"
	@set -o pipefail; go build -v -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $(BIN)/fauxlet ./cmd/fauxlet \
		2>&1 | $(PROGRESS)

.PHONY: test
test: ## run the tests of the module
	go test -count=1 . # reads the output of go list, which the cache of test results does not track
	go test -p $(PACKAGES) ./...

# The race detector needs a C compiler. A program with it sleeps a second at its end, which GORACE prevents.
.PHONY: race
race: export CGO_ENABLED := 1
race: ## run the tests of the module with the race detector, which takes more than twice as long
	GORACE=atexit_sleep_ms=0 go test -race -p $(PACKAGES) ./...

.PHONY: e2e
e2e: ## run the tests against the real etcd, kube-apiserver, kubectl and kubelet server (the first build takes about 20 minutes; ARGS=-short runs the quick ones)
	cd e2e && go run ./preflight $(if $(ARGS),,-build)
	cd e2e && go test -count=1 -timeout 80m $(ARGS) ./...

# What the tests of e2e-versions show: the statements of docs/claims.md, a node that joins, logs, streams, and a check that
# passes.
VERSIONS_TESTS = $(shell grep -o 'Test[A-Za-z]*' docs/claims.md | sort -u) TestNodeJoins TestKubectlLogsOptions \
	TestKubectlLogsFollow TestKubectlExec TestKubectlExecTerminal TestKubectlAttach TestKubectlPortForward TestKubectlCopy \
	TestCheckPasses TestCheckWithIssuedCertificate
empty :=

.PHONY: e2e-versions
e2e-versions: ## join, logs, exec, check and docs/claims.md against the kube-apiservers of APISERVERS (1.31 1.34 1.36; the first build of each takes 5 to 15 minutes)
	cd e2e && go run ./preflight
	@failed=; for minor in $(or $(APISERVERS),1.31 1.34 1.36); do echo "== kube-apiserver $$minor"; \
		(cd e2e && FAUXLET_E2E_APISERVER=$$minor go test -count=1 -timeout 80m \
			-run '^($(subst $(empty) $(empty),|,$(strip $(VERSIONS_TESTS))))$$' $(ARGS) ./cluster ./node) || failed+=" $$minor"; \
	done; [ -z "$$failed" ] || { echo "e2e-versions: failed with kube-apiserver$$failed" >&2; exit 1; }

.PHONY: compare
compare: ## compare the answers to N (1000000) generated requests with the kubelet's own server, from SEED (1) on, up to LIMIT (20) differences
	@mkdir -p $(BIN)
	cd e2e && go test -c -o ../$(BIN)/compare.test ./same
	@cd e2e/same && FAUXLET_E2E_COMPARE=$(or $(N),1000000) FAUXLET_E2E_SEED=$(or $(SEED),1) \
		FAUXLET_E2E_DIFFERENCES=$(or $(LIMIT),20) \
		exec ../../$(BIN)/compare.test -test.run '^TestCompare$$' -test.timeout 0

.PHONY: record
record: ## record the answers of the kubelet's server of VERSION (such as 1.33) for make test (the first build takes about 10 minutes)
	@[ "$(origin VERSION)" = "command line" ] || { echo "make record: set VERSION, for example VERSION=1.33" >&2; exit 2; }
	cd e2e && FAUXLET_E2E_RECORD=$(VERSION) go test -count=1 -timeout 80m -v -run '^TestRecord$$' ./same
	[ ! -e e2e/record/$(VERSION).mod ] || $(MAKE) older-facts

# The facts about an older kubelet are its feature gates, flags, defaults, and results of loading configurations.
.PHONY: older-facts
older-facts:
	@mkdir -p $(BIN)
	cd e2e && go build -o ../$(BIN)/older-facts -mod=mod -modfile=record/$(VERSION).mod -tags older ./kubeletfacts
	$(BIN)/older-facts facts > $(BIN)/older.json && mv $(BIN)/older.json config/testdata/older/$(VERSION).json
	$(BIN)/older-facts loads > $(BIN)/older.json && mv $(BIN)/older.json config/testdata/older/$(VERSION)-loads.json
	go test ./config -count=1 -run TestVersionFacts -update

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (30s); make test runs the inputs found before
	@set -e; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(or $(FUZZTIME),30s) -fuzzminimizetime 20x $$package; done; done

.PHONY: bench
bench: ## compare CPU time and speed of a request and a long log with a bare net/http server, and with the kubelet's own once make e2e has built it
	go test ./server -run '^$$' -bench '^Benchmark(Beside|Trace)' -benchtime 1x -timeout 15m
	@if compgen -G "$${FAUXLET_E2E_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/fauxlet-e2e}/*/reference-????????????" >/dev/null; then \
		cd e2e && go test -run '^$$' -bench '^BenchmarkBesideKubelet' -benchtime 1x -timeout 15m ./same; \
	else echo "not measured beside the kubelet's own server: make e2e builds it"; fi

# The test is built first and run without "go test", which would hold back its output.
.PHONY: soak
soak: ## run fauxlet in a cluster under all kinds of requests, and fail if goroutines, descriptors or live heap grow (TIME=10m)
	@mkdir -p $(BIN)
	cd e2e && go test -c -o ../$(BIN)/soak.test ./soak
	@cd e2e/soak && exec ../../$(BIN)/soak.test -test.run '^TestSoak$$' -time $(or $(TIME),10m) -results ../../$(BIN) $(ARGS)

# Platforms that the program is also built for. Vet compiles the files that only they have.
PLATFORMS := darwin/arm64 windows/amd64 linux/arm64

.PHONY: lint
lint: site ## run gofmt, go vet (also for other platforms), staticcheck, actionlint, goreleaser check, go mod tidy -diff, govulncheck and make site
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
		[ -z "$$unformatted" ] || { echo "gofmt these files:"; echo "$$unformatted"; exit 1; }
	go mod tidy -diff
	cd e2e && go mod tidy -diff
	go vet ./...
	cd e2e && go vet ./...
	@set -e; for platform in $(PLATFORMS); do echo "go vet for $$platform"; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} go vet ./...; done
	go run $(STATICCHECK) ./...
	cd e2e && go run $(STATICCHECK) ./...
	go run $(ACTIONLINT) -shellcheck= -pyflakes=
	$(REMOTE) $(RELEASE) check
	@set -o pipefail; out=$$(mktemp); trap 'rm -f $$out' EXIT; \
		if go run $(GOVULNCHECK) ./... >$$out 2>&1; then echo "govulncheck: no known vulnerability is reached"; \
		elif grep -qE 'Vulnerability #' $$out; then cat $$out; exit 1; \
		else echo "govulncheck: NOT RUN, its database cannot be reached:"; tail -3 $$out; fi

.PHONY: site
site: ## make HTML pages with search from the pages of docs/, into the folder site, and fail if a link is broken
	cd e2e && go run ./site -out ../site $(ARGS)
	@echo "open site/index.html"

.PHONY: generate
generate: ## rewrite the generated pages of docs/ from the code (those made by make e2e are compared there)
	go test $$(git grep -l 'flag.Bool("update"' -- '*_test.go' ':!e2e' | xargs -n1 dirname | sort -u | sed 's#^#./#') \
		-count=1 -run 'TestDocs|TestReferencePage|TestGoTestsPage' -update

.PHONY: tidy
tidy: ## format the code, and add and remove requirements of both modules
	gofmt -w $$(git ls-files '*.go')
	go mod tidy
	cd e2e && go mod tidy

.PHONY: cover
cover: ## measure the coverage of the tests of the module, into coverage.html
	go test -coverpkg=./... -coverprofile=coverage.out ./...
	go tool cover -html=coverage.out -o coverage.html
	go tool cover -func=coverage.out | tail -1

.PHONY: image
image: ## build the container image with buildah for ARCHES (amd64 arm64), from no base image: an OCI layout and archives in DIR (bin/image)
	VERSION='$(VERSION)' TAGS='$(TAGS)' LDFLAGS='$(LDFLAGS)' packaging/image.sh '$(or $(DIR),bin/image)' \
		'$(or $(IMAGE),fauxlet:latest)' $(or $(ARCHES),amd64 arm64)

.PHONY: image-check
image-check: ## build the image of the last commit twice, and fail if the results differ
	packaging/image-check.sh $(or $(ARCHES),amd64 arm64)

.PHONY: api
api: ## write the exported API to docs/api.txt, after a deliberate change (docs/api.md says which are allowed)
	go test -count=1 -run '^TestAPI$$' . -update

.PHONY: api-diff
api-diff: ## list the changes of the exported API since BASE (a tag or commit), the incompatible ones first
	@[ -n "$(BASE)" ] || { echo "make api-diff: set BASE, for example BASE=v0.1.0" >&2; exit 2; }
	@dir=$$(mktemp -d) && trap 'git worktree remove --force "$$dir/base"; rm -r "$$dir"' EXIT && \
		git worktree add --quiet --detach "$$dir/base" "$(BASE)" && \
		(cd "$$dir/base" && go run $(APIDIFF) -m -w "$$dir/base.api" "$$(go list -m)" 2> >(grep -v "^Ignoring internal package" >&2)) && \
		go run $(APIDIFF) -m "$$dir/base.api" "$$(go list -m)" 2> >(grep -v "^Ignoring internal package" >&2)

.PHONY: module
module: ## give the module another path, in all files (MODULE=github.com/OWNER/fauxlet)
	@go run ./packaging/module "$(MODULE)"

RELEASE := go run -trimpath -ldflags "-s -w" $(GORELEASER)

# goreleaser needs the URL of a repository on GitHub, even if it uploads nothing. These variables give it one, for a clone
# without a remote, or with a remote that is a folder.
ORIGIN = $(shell git remote get-url origin 2>/dev/null)
REMOTE = GIT_CONFIG_COUNT=1 $(if $(ORIGIN),GIT_CONFIG_KEY_0=url.$(PLACEHOLDER).insteadOf GIT_CONFIG_VALUE_0='$(ORIGIN)',\
	GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0=$(PLACEHOLDER))
PLACEHOLDER := https://github.com/OWNER/fauxlet

.PHONY: release
release: ## build archives, packages, SBOMs and checksums into dist, and upload nothing (VERSION=v0.1.0; PLATFORM=linux/amd64 builds for this one only)
	@[[ "$(PLATFORM)" =~ ^([a-z0-9]+/[a-z0-9]+)?$$ ]] || \
		{ echo "make release: PLATFORM: \"$(PLATFORM)\" is not a platform such as linux/amd64" >&2; exit 2; }
	@[[ "$(origin VERSION)" != "command line" || "$(VERSION)" =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$$ ]] || \
		{ echo "make release: VERSION: \"$(VERSION)\" is not a version such as v0.1.0" >&2; exit 2; }
	@mkdir -p $(BIN)
	@cp .goreleaser.yaml $(BIN)/goreleaser.yaml
	@[ -z "$(PLATFORM)" ] || sed -i -e 's#goos: \[.*#goos: [$(firstword $(subst /, ,$(PLATFORM)))]#' \
		-e 's#goarch: \[.*#goarch: [$(lastword $(subst /, ,$(PLATFORM)))]#' $(BIN)/goreleaser.yaml
	$(REMOTE) $(if $(filter command line,$(origin VERSION)),SNAPSHOT_VERSION=$(VERSION:v%=%)) \
		$(RELEASE) release --snapshot --clean --config $(BIN)/goreleaser.yaml

.PHONY: release-upload
release-upload: ## build the release of the tag that is checked out, and make a draft of it on GitHub (.github/workflows/release.yml runs this)
	$(RELEASE) release --clean

.PHONY: release-check
release-check: ## build the release of the last commit twice, compare all files, and try the deb in a chroot (ARGS=--fresh compiles everything twice; needs root and mmdebstrap)
	packaging/check.sh $(ARGS)

.PHONY: packaging
packaging: ## fill the templates for krew and Homebrew from the archives in DIR (dist), for OWNER and VERSION (such as v0.1.0)
	@[ "$(origin VERSION)" = "command line" ] && [ -n "$(OWNER)" ] || \
		{ echo "make packaging: set OWNER and VERSION, for example OWNER=octocat VERSION=v0.1.0" >&2; exit 2; }
	packaging/fill.sh "$(OWNER)" "$(VERSION)" "$(or $(DIR),dist)"
	go run $(KREW) -skip-install -manifest "$(or $(DIR),dist)/krew/fauxlet.yaml"

.PHONY: clean
clean: ## remove build results and the folder of the demo
	rm -rf $(BIN) dist demo site coverage.out coverage.html
