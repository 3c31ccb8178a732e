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

.PHONY: soak
soak: ## Run the reconciler in a simulated cluster, seed after seed; KLEYM_SIM_SEED replays one
	$(CARGO) test --package kleym-operator --features soak --test sim

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

.PHONY: fmt
fmt: ## Format every file
	$(CARGO) fmt --all

.PHONY: generate
generate: ## Write the generated files anew
	$(CARGO) xtask generate

.PHONY: clean
clean: ## Remove what was built; the control plane in the user's cache stays
	$(CARGO) clean
