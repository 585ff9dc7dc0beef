# The only door: what people and CI run is a target here.

CALLS ?= 100000
# The gate against regressions: what a full call costs the engine today, and two percent. The goal is 40,000.
INSTRUCTIONS_MAX ?= 40800
CARGO ?= cargo
# Where cargo builds; the environment may move it.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help run demo test check tidy bench soak

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## 1,000 real calls by SIPp through Corelane to two gateways, with a table of what happened
	@scripts/setup.sh build sipp
	$(CARGO) build --release --locked -p corelane-tools --bin corelane
	@scripts/demo.sh $(TARGET)/release/corelane

test: ## everything that can fail: units, state tables, end to end with SIPp on 1, 2 and 4 shards, the instruction count
	@scripts/setup.sh build sipp valgrind
	$(CARGO) test --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --doc
	scripts/count-instructions.sh 500 $(INSTRUCTIONS_MAX)

check: tidy ## form: rustfmt, clippy, documentation, the rules of the house
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items

tidy: ## the rules of the house that no compiler knows
	@scripts/setup.sh build
	$(CARGO) run --locked -q -p corelane-tools --bin corelane-tidy

bench: ## CPU per call against the floor, instructions and allocations per call
	@scripts/setup.sh build valgrind
	$(CARGO) build --profile bench --locked --workspace --bins
	$(TARGET)/release/corelane-perf bench
	$(TARGET)/release/corelane-perf engine --calls 20000
	scripts/count-instructions.sh

soak: ## CALLS=100000 calls of every outcome by SIPp; afterwards every slab is empty
	@scripts/setup.sh build sipp
	CORELANE_SOAK_CALLS=$(CALLS) $(CARGO) test --locked --release -p corelane-tools --test e2e soak -- --nocapture

run: ## Corelane in the foreground on the demo's tables (127.0.50.1:15060)
	@scripts/setup.sh build
	$(CARGO) run --locked --release -p corelane-tools --bin corelane -- \
		run --routes scripts/demo/routes --state-dir target/run --shards 1
