# What a person types. Each target does the set-up it needs (scripts/setup.sh says what it installs).
CARGO := scripts/cargo.sh
FLAGS := --workspace --all-features --locked
ARGS ?=

.PHONY: help run build dist test verify fix api-test descriptions clients check-deploy chaos report bench sdk sdk-nodes sdk-browser sdk-chaos web web-browser docs docs-test docs-check setup fmt-check clippy doc architecture tree names deny advisories english

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

run: ## one node on 127.0.0.1:8080 with development tokens (ARGS="--data DIR --http ADDR")
	$(CARGO) run --profile start --locked --bin rookery -- dev $(ARGS)

build: ## the release binaries rookery and rookery-loadtest
	$(CARGO) build --release --locked --bin rookery --bin rookery-loadtest

dist: ## archive, Debian package and checksums in target/dist, tried (BIN=DIR for binaries that exist)
	scripts/dist.sh
	scripts/check-dist.sh

test: architecture ## every test (ARGS="-p rookery-storage" for one crate)
	scripts/test.sh $(ARGS)

verify: fmt-check tree names english clippy test doc ## everything a change must pass; writes nothing but build output
	scripts/deny.sh

fix: ## formats, and applies what clippy can fix by itself
	cargo fmt --all
	$(CARGO) clippy $(FLAGS) --all-targets --fix --allow-dirty --allow-staged

api-test: ## a node held against its own OpenAPI by schemathesis (EXAMPLES=500 SEED=7 for more)
	scripts/schemathesis.sh

descriptions: ## the API descriptions held against OpenAPI and AsyncAPI (needs Node 20 or later)
	scripts/descriptions.sh

clients: ## stock clients against three real nodes behind a proxy (ARGS="short" or ARGS="native" for some)
	scripts/clients.sh $(ARGS)

check-deploy: ## every file of deploy/ with the tool of its kind (ARGS="quick", --self-test or some checks; BIN=DIR)
	scripts/check-deploy.sh $(ARGS)

chaos: ## every fault on three real nodes under the oracle (ROUNDS=20 for a night)
	scripts/chaos.sh

report: ## every figure, measured on three local nodes, into docs/reports (ARGS="failover low" for some)
	scripts/report.sh $(ARGS)

bench: ## micro-benchmarks (codec, apply, fan-out)
	$(CARGO) bench --workspace --locked $(ARGS)

sdk: ## the TypeScript client: lint, types, tests, package, sizes (needs Node 20 or later)
	scripts/sdk.sh

sdk-nodes: ## the TypeScript client against real nodes, and its types against theirs (ROOKERY_BIN=FILE for a binary)
	scripts/sdk.sh nodes

sdk-browser: ## the TypeScript client in Chromium: reload, tabs, tokens (CHROMIUM=FILE)
	scripts/sdk.sh browser

sdk-chaos: ## many TypeScript clients, three nodes, faults (SECONDS=120 CLIENTS=50 SEED=…)
	scripts/sdk.sh chaos

web: ## the chat page and the console, built into web/dist, which is committed (needs Node 20 or later)
	scripts/web.sh

web-browser: ## both pages of three nodes in Chromium (CHROMIUM=FILE, ROOKERY_BIN=FILE for a binary)
	scripts/web.sh browser

docs: ## the documents as a book in target/book, with every link checked
	scripts/docs.sh

docs-test: ## the commands and programs that the documents show, executed (ARGS="authentication go" for some pages)
	scripts/docs-test.sh $(ARGS)

docs-check: ## the generated references against the program (scripts/references.sh writes them)
	scripts/references.sh check

setup: ## installs what a build needs and builds RocksDB into the cache
	@scripts/setup.sh quick

fmt-check:
	cargo fmt --all --check

clippy:
	$(CARGO) clippy $(FLAGS) --all-targets -- -D warnings
	$(CARGO) clippy --workspace --locked --bins -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(FLAGS) --no-deps --document-private-items

architecture:
	scripts/check-architecture.sh

tree:
	scripts/check-tree.sh

names: ## no banned word in an identifier, no type name for two things
	scripts/check-names.sh

english: ## docs, test names and commit subjects, as far as a script can check them
	scripts/check-english.sh

deny: ## licences, bans and sources of the dependencies; installs cargo-deny at need
	DENY_INSTALL=1 scripts/deny.sh

advisories: ## known vulnerabilities in the dependencies; needs a network
	DENY_INSTALL=1 scripts/deny.sh advisories
