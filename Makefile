# The only door: what people and CI run is a target here.

# Calls of `make soak`; of `make sim` too, where it is given.
SOAK_CALLS := $(or $(CALLS),100000)
# How long `make fuzz` tries each of its targets.
SECONDS ?= 300
# The gate: what a full call may cost the engine, in instructions (the goal of SPECIFICATION.md).
INSTRUCTIONS_MAX ?= 40000
CARGO ?= cargo
# Where cargo builds; the environment may move it.
OUTPUT := $(or $(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help run demo test check tidy sim fuzz bench bench-media goodput soak

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## 1,000 real calls by SIPp through Corelane to two gateways, with a table of what happened
	@scripts/setup.sh build sipp
	$(CARGO) build --release --locked -p corelane-tools --bin corelane
	@scripts/demo.sh $(OUTPUT)/release/corelane

test: ## everything that can fail: units, state tables, end to end with SIPp and rtpengine on 1, 2 and 4 shards, the instruction count, the simulator and its canary, fuzz targets
	@scripts/setup.sh build sipp media valgrind fuzz
	$(CARGO) test --locked --workspace --all-targets
	$(CARGO) test --locked --workspace --doc
	$(CARGO) test --locked -p corelane-perf --features canary --test canary
	scripts/count-instructions.sh 500 $(INSTRUCTIONS_MAX)
	scripts/fuzz.sh smoke

check: tidy ## form: rustfmt, clippy, documentation, the rules of the house
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --manifest-path fuzz/Cargo.toml --target-dir $(OUTPUT)/fuzz --no-default-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --workspace --no-deps --document-private-items

tidy: ## the rules of the house that no compiler knows
	@scripts/setup.sh build
	$(CARGO) run --locked -q -p corelane-tools --bin corelane-tidy

sim: ## the engine in simulated worlds full of faults: CALLS=100000 calls, or the one world of SEED=…
	$(CARGO) build --release --locked -p corelane-perf
	$(OUTPUT)/release/corelane-perf sim $(if $(SEED),--seed $(SEED)) $(if $(CALLS),--calls $(CALLS))

fuzz: ## each fuzz target for SECONDS=300, or one: TARGET=parse, round_trip, engine, image or reply
	@scripts/setup.sh build fuzz
	scripts/fuzz.sh long $(SECONDS) $(TARGET)

bench: ## CPU per call against the floor, instructions and allocations per call
	@scripts/setup.sh build valgrind
	$(CARGO) build --profile bench --locked --workspace --bins
	$(OUTPUT)/release/corelane-perf bench
	$(OUTPUT)/release/corelane-perf engine --calls 20000
	scripts/count-instructions.sh

bench-media: ## CPU per call of shard and control core with media through stand-in relays; what frozen, killed and silent nodes cost; two real rtpengine under a rising rate
	@scripts/setup.sh build media
	$(CARGO) build --profile bench --locked --workspace --bins
	$(OUTPUT)/release/corelane-perf media --ask pairs,curves,saturate

goodput: ## calls answered at 2 and 3 times the capacity of a fifth of a core, and the calls in progress meanwhile (root)
	@scripts/setup.sh build
	$(CARGO) build --release --locked -p corelane-tools -p corelane-perf --bins
	@scripts/goodput.sh

soak: ## CALLS=100000 calls of every outcome by SIPp, afterwards every slab is empty; 60,000 media sessions over four nodes, also with one of them lost
	@scripts/setup.sh build sipp
	CORELANE_SOAK_CALLS=$(SOAK_CALLS) $(CARGO) test --locked --release -p corelane-tools --test e2e soak -- --nocapture
	$(CARGO) build --release --locked --bins
	$(OUTPUT)/release/corelane-perf media --ask held

run: ## Corelane in the foreground on the demo's tables (127.0.50.1:15060)
	@scripts/setup.sh build
	$(CARGO) run --locked --release -p corelane-tools --bin corelane -- \
		run --routes scripts/demo/routes --state-dir target/run --shards 1
