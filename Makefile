# Everything a contributor runs. Needed: a Rust toolchain (rustup installs the pinned one), a C compiler, and `go` or
# network for the control plane of the tests, which is made once and kept in the user's cache.

MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
# Every folder in `crates` is a crate of that name.
CRATES := $(notdir $(wildcard crates/*)) xtask
# Where cargo puts the programs, whatever the environment and the user's settings say; asked for when it is needed.
BIN = $(shell $(CARGO) metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/debug

comma := ,
say = @printf '\n==> %s\n' $(1)

.PHONY: help
help: ## List the targets
	@printf 'Kleym. The targets of this Makefile:\n\n'
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' $(MAKEFILE_LIST) | while read -r target words; do \
		printf '  make %-14s %s\n' "$$target" "$$words"; \
	done

.PHONY: build
build: ## Build every program, for development
	$(call say,'building every program (a first build takes some minutes)')
	$(CARGO) build --workspace --bins

.PHONY: control-plane
control-plane: build ## Make sure of etcd and kube-apiserver for tests and demo, in the user's cache
	$(call say,'looking for etcd and kube-apiserver')
	@$(BIN)/kleym-testenv assets

.PHONY: demo
demo: control-plane ## Watch the operator at work; KEEP=1 leaves everything running
	@$(BIN)/kleym-demo $(if $(filter-out 0 no false,$(KEEP)),--keep)

.PHONY: test
test: ## Run every test, on control planes of their own
	$(call say,'building every test (a first build takes some minutes)')
	$(CARGO) test --workspace --all-targets --no-run
	$(call say,'looking for etcd and kube-apiserver')
	@$(BIN)/kleym-testenv assets
	$(call say,'running every test')
	$(CARGO) test --workspace --all-targets --no-fail-fast
	$(call say,'running the examples in the documentation')
	$(CARGO) test --workspace --doc

.PHONY: test-faults
test-faults: build ## Let everything go wrong, on a real API server; up to an hour. See crates/kleym-operator/tests/faults/plans.rs
	@$(BIN)/kleym-testenv assets
	$(CARGO) test --package kleym-operator --features faults --test faults -- --nocapture --test-threads 2

.PHONY: soak
soak: ## Run the reconciler in a simulated cluster, 1,000,000 seeds or KLEYM_SIM_SEEDS; KLEYM_SIM_SEED replays one
	KLEYM_SIM_SEEDS=$(or $(KLEYM_SIM_SEEDS),1000000) KLEYM_SIM_SOAK=1 \
		$(CARGO) test --release --package kleym-operator --test sim -- --nocapture

# `fuzz/Cargo.toml` lists the targets. There is no unsafe code for a sanitizer to look at, so the stable toolchain is enough.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= $(shell sed -n 's/^name = "\([a-z_]*\)"/\1/p' fuzz/Cargo.toml)

.PHONY: fuzz
fuzz: ## Throw anything at whatever reads input from outside; FUZZ_SECONDS each (60), FUZZ_TARGETS chooses
	$(call crate_tool,cargo-fuzz@0.13.2)
	@for target in $(FUZZ_TARGETS); do \
		printf '\n==> fuzzing %s\n' "$$target"; \
		mkdir -p $(OUT)/fuzz/corpus/$$target; \
		PATH="$(CRATE_TOOLS)/bin:$$PATH" $(CARGO) fuzz run --sanitizer none --target-dir $(OUT)/fuzz "$$target" \
			$(OUT)/fuzz/corpus/$$target fuzz/seeds -- -dict=fuzz/words.dict -max_len=65536 -rss_limit_mb=1024 \
			-timeout=10 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -print_funcs=0 -verbosity=0; \
	done

.PHONY: bench
bench: build ## Measure the operator, some 15 minutes; SIZE=small is quick, FIGURES='calls many more crowd claim' chooses
	@$(BIN)/kleym-testenv assets
	$(CARGO) bench --package kleym-operator --bench operator -- $(if $(SIZE),--size $(SIZE)) $(FIGURES)

.PHONY: browser-test
browser-test: ## Run the tests of the map's page, which need a browser; KLEYM_PICTURES=<folder> keeps pictures of it
	KLEYM_BROWSER_REQUIRED=1 $(CARGO) test --package kleym --test it graph::browser

.PHONY: lint
lint: ## Check style, lints, generated files, documentation, and that each crate builds alone
	$(call say,'formatting')
	$(CARGO) fmt --all --check
	$(call say,'lints')
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(call say,'each crate alone: none may live on features that another one turns on')
	@for crate in $(CRATES); do \
		printf '    %s\n' "$$crate"; \
		$(CARGO) clippy --quiet --package "$$crate" -- --deny warnings; \
	done
	$(call say,'documentation')
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --workspace --no-deps
	$(call say,'generated files')
	$(CARGO) xtask check

include tools/package/targets.mk

.PHONY: fmt
fmt: ## Format every file
	$(CARGO) fmt --all

.PHONY: generate
generate: ## Write the generated files anew
	$(CARGO) xtask generate

# Programs that build the book, at pinned versions, in the user's cache: building them once takes some five minutes.
# mdbook-mermaid is locked to one mdBook and warns at every build of the book when it is called by another.
MDBOOK := 0.5.0
MDBOOK_MERMAID := 0.17.1
DOCS_TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kleym/docs-$(MDBOOK)-$(MDBOOK_MERMAID)

$(DOCS_TOOLS)/bin/mdbook:
	$(call say,'building mdBook $(MDBOOK)$(comma) once; this takes some minutes')
	$(CARGO) install --locked --root $(DOCS_TOOLS) --no-default-features --features search mdbook@$(MDBOOK)

$(DOCS_TOOLS)/bin/mdbook-mermaid:
	$(call say,'building mdbook-mermaid $(MDBOOK_MERMAID)$(comma) once; this takes some minutes')
	$(CARGO) install --locked --root $(DOCS_TOOLS) mdbook-mermaid@$(MDBOOK_MERMAID)

.PHONY: docs-build
docs-build: $(DOCS_TOOLS)/bin/mdbook $(DOCS_TOOLS)/bin/mdbook-mermaid ## Check the book and build it into target/book
	$(call say,'generated pages$(comma) links and names')
	$(CARGO) xtask check
	$(call say,'the book')
	@RUST_LOG=warn $(DOCS_TOOLS)/bin/mdbook-mermaid install docs
	PATH="$(DOCS_TOOLS)/bin:$$PATH" $(DOCS_TOOLS)/bin/mdbook build docs
	@$(CARGO) xtask check-site target/book

.PHONY: clean
clean: ## Remove what was built; the control plane in the user's cache stays
	$(CARGO) clean
