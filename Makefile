# Sallyport. `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GO      ?= go
# Versions of tools that are no part of the product or its tests.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BUF      := github.com/bufbuild/buf/cmd/buf@v1.75.0

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/sallyport
	$(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/sallyport ./cmd/sallyport

.PHONY: tools
tools: ## install what demo and test need into .tools
	tools/install-envoy
	tools/install-node
	tools/install-redis
	tools/install-postgres
	tools/install-s3server

.PHONY: demo
demo: build ## run the whole path on loopback: a tour, then URLs to try
	tools/install-envoy
	tools/install-redis
	bin/sallyport demo $(DEMO)

.PHONY: test
test: tools ## run all tests, with the race detector
	$(GO) vet ./...
	$(GO) test -race -timeout 20m ./...

.PHONY: chaos
chaos: tools ## count effects while everything fails, for CHAOS (default 10m)
	$(GO) test ./cmd/sallyport -run '^TestChaos$$' -count 1 -timeout 0 -v -chaos $${CHAOS:-10m} -chaos-seed $${SEED:-0}

.PHONY: test-terraform
test-terraform: ## test the Terraform modules, without a cloud account
	tools/test-terraform

.PHONY: bench
bench: ## measure Check and exchanges beside servers that only say yes
	$(GO) run ./bench -out bench/out

.PHONY: lint
lint: ## static analysis
	$(GO) run $(GOLANGCI) run ./...
	$(GO) run $(BUF) lint protos

.PHONY: generate
generate: ## regenerate protobuf code and generated docs
	cd protos && $(GO) run $(BUF) generate
	$(GO) generate ./...

.PHONY: fuzz
fuzz: ## run every fuzz test for FUZZTIME (default 30s) each
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-30s} $$p; \
	  done; done

.PHONY: check
check: ## what a change must pass: format, modules, generate, lint, test, clean tree
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt"; exit 1; }
	$(GO) mod tidy -diff
	$(MAKE) generate lint test
	git diff --exit-code
