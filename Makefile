# make alone lists the targets.

GO      ?= go
BIN     := bin/annona
DATA    ?= build/demo
LISTEN  ?= 127.0.0.1:8080
PEOPLE  ?= 20000
ONLY    ?= .
STORE   ?= both
SEED    ?= 0
N       ?= 100
CUTS    ?= $(N)
SIZE    ?= 0

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## the product with a synthetic country, on http://127.0.0.1:8080
	$(BIN) demo --data $(DATA) --listen $(LISTEN) --individuals $(PEOPLE)

build: ## leave the program in bin/annona
	@mkdir -p bin
	@echo "building $(BIN); the first time takes a minute or two"
	$(GO) build -trimpath -o $(BIN) ./cmd/annona

test: tools check build ## everything: formatting, vet, lint, all tests with what they need
	@GO="$(GO)" scripts/test

laws: ## the property tests for 20 minutes or more, with worlds of chance
	$(GO) test -timeout 3h ./rest ./exchange -run 'Law|TakenBackIsNone|KeepTheirRules' -rapid.checks=2000

lint: ## staticcheck
	$(GO) tool staticcheck ./...

check: lint ## formatting, vet and lint, without the tests
	@unformatted="$$(gofmt -l .)"; test -z "$$unformatted" || { echo "gofmt: $$unformatted"; exit 1; }
	$(GO) vet ./...

race: ## all tests under the race detector
	$(GO) test -race ./...

fuzz: ## every fuzzer for 30 seconds
	scripts/fuzz 30s

outsider: ## the event-order adversary at full length: 60 s, 1,000,000 rows
	$(GO) test ./store/postgres -v -run 'TestOutsiderDelaysNobody|TestBatchesBesideASnapshot' -outsider 60s -dead 1000000

bench: tools build ## the figures; ONLY=regexp selects some
	$(GO) run ./bench -bin $(BIN) -dir build/bench -only '$(ONLY)' -size $(SIZE)

kills: ## the worker of one export killed; KILLS=100
	$(GO) test ./jobs -run TestAKilledExportIsTheSame -count=1 -v -kills=$(or $(KILLS),100)

handovers: ## hand-overs of cases killed, in both stores; KILLS=200
	$(GO) test ./cmd/annona -run TestKilledHandOver -count=1 -v -timeout 1h -handovers=$(or $(KILLS),200)

shapes: tools ## all records of a demo as linked data: the same statements in each form, and the published shapes hold
	$(GO) test ./cmd/annona -run TestLinkedDataOfTheDemo -count=1 -v -timeout 1h -linked=0

linear: ## random histories of patches at once, with crashes: linearizable? N=100
	$(GO) test ./exchange -run TestPatchesAreLinearizable -count=1 -v -timeout 0 -histories=$(or $(N),100)

crash: build ## kills and cuts of power; N=1000 STORE=sqlite|postgres|both SEED= CUTS=
	$(GO) run ./crash -bin $(BIN) -dir build/crash -store $(STORE) -seed $(SEED) -n $(N) -cuts $(CUTS)

mutate-gate: ## each decision taken away: which test notices; ONLY=regexp of decisions, TESTS=regexp
	$(GO) run ./scripts/mutants -only '$(ONLY)' -tests '$(or $(TESTS),.)'

tools: ## what the tests need from the system
	@scripts/tools

.PHONY: help run build test laws lint check race fuzz bench outsider kills handovers shapes linear crash mutate-gate tools
