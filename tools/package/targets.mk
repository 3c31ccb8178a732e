# What is packaged: the static program, its image, the checks of manifests and chart, and what a release consists of.

# The pinned tools, built on first use.
PACKAGE_TOOLS = $(shell tools/package/install)
REVISION = $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# Of this machine: its target for static programs, and its name in images and archives.
TARGET ?= $(shell uname -m)-unknown-linux-musl
ARCHITECTURE := $(subst aarch64,arm64,$(subst x86_64,amd64,$(shell uname -m)))
PLATFORM ?= linux-$(ARCHITECTURE)
PROGRAMS ?= kleym kleym-operator
OUT = $(patsubst %/debug,%,$(BIN))
STATIC = $(OUT)/$(TARGET)/release
# Tools from crates, pinned; cargo installs each once.
CRATE_TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kleym/crates
crate_tool = $(CARGO) install --quiet --locked --root $(CRATE_TOOLS) $(1)

.PHONY: static
static:
	$(call say,'building $(PROGRAMS) for $(TARGET)')
	@case $(TARGET) in *-musl) command -v musl-gcc >/dev/null \
		|| { echo 'a static program needs musl-gcc: apt-get install musl-tools' >&2; exit 1; };; esac
	rustup target add $(TARGET)
	KLEYM_BUILD_REVISION=$(REVISION) $(CARGO) build --release --locked --target $(TARGET) $(PROGRAMS:%=--package %)

.PHONY: image
image: static ## Build the operator's static image as an OCI layout, without a container engine
	$(call say,'writing the image')
	rm -rf $(OUT)/image $(OUT)/image.oci.tar
	KLEYM_BUILD_REVISION=$(REVISION) $(CARGO) xtask image $(OUT)/image $(ARCHITECTURE)=$(STATIC)/kleym-operator

# The tests that need the pinned tools; those of the released program and its image are told apart by their names.
PACKAGE_TESTS = $(CARGO) test --package kleym-operator --features package --test it -- package:: installed:: packaging::

.PHONY: package-check
package-check: build ## Check manifests, chart, alerts and workflows by pinned tools, and on a real API server
	$(call say,'the pinned tools')
	@tools/package/install
	$(call say,'workflows')
	$(PACKAGE_TOOLS)/actionlint .github/workflows/*.yml
	$(call say,'alerts')
	$(PACKAGE_TOOLS)/promtool check rules config/components/monitoring/rules.yaml
	$(PACKAGE_TOOLS)/promtool test rules config/components/monitoring/rules_test.yaml
	$(call say,'chart')
	@for values in charts/kleym/ci/*-values.yaml; do \
		$(PACKAGE_TOOLS)/helm lint charts/kleym --strict --kube-version 1.36 --values "$$values"; \
	done
	$(call say,'manifests and chart on a real API server')
	$(CARGO) clippy --package kleym-operator --features package --tests -- --deny warnings
	@$(BIN)/kleym-testenv assets
	KLEYM_TOOLS=$(PACKAGE_TOOLS) $(PACKAGE_TESTS) --skip package::released

.PHONY: package-test
package-test: package-check image ## The same, and with the static program in its image; needs musl-gcc and user namespaces
	$(call say,'a release as it would be put together')
	rm -rf $(OUT)/programs $(OUT)/release-trial
	install -D -t $(OUT)/programs/$(PLATFORM) $(PROGRAMS:%=$(STATIC)/%)
	tools/release/assemble $(OUT)/programs $(OUT)/release-trial
	$(call say,'the static program and its image on a real API server')
	KLEYM_TOOLS=$(PACKAGE_TOOLS) KLEYM_IMAGE=$(OUT)/image.oci.tar \
		KLEYM_TEST_OPERATOR=$(STATIC)/kleym-operator $(PACKAGE_TESTS) --skip package::render --skip packaging::

.PHONY: deny
deny: ## Check licences, bans and sources of dependencies
	$(call crate_tool,cargo-deny@0.20.2)
	$(CRATE_TOOLS)/bin/cargo-deny check licenses bans sources

# For the release workflow: programs that carry the list of what they are made of, and SBOMs.
.PHONY: release-programs
release-programs:
	rustup target add $(TARGET)
	$(call crate_tool,cargo-auditable@0.7.7)
	$(call crate_tool,cargo-cyclonedx@0.5.9)
	PATH="$(CRATE_TOOLS)/bin:$$PATH" KLEYM_BUILD_REVISION=$(REVISION) \
		$(CARGO) auditable build --release --locked --target $(TARGET) $(PROGRAMS:%=--package %)
	mkdir -p $(OUT)/programs/$(PLATFORM)
	cp $(PROGRAMS:%=$(STATIC)/%) $(OUT)/programs/$(PLATFORM)/
	PATH="$(CRATE_TOOLS)/bin:$$PATH" $(CARGO) cyclonedx --format json --spec-version 1.5 --target $(TARGET)
	@for program in $(PROGRAMS); do \
		sed 's|file://$(CURDIR)/|file:///kleym/|g' crates/$$program/$$program.cdx.json \
			>$(OUT)/programs/$(PLATFORM)/$$program.cdx.json; \
	done
	@find crates xtask -name '*.cdx.json' -delete

# For the release workflow, from the programs of every platform.
.PHONY: release
release:
	rm -rf $(OUT)/image $(OUT)/image.oci.tar $(OUT)/release-files
	chmod +x $(OUT)/programs/*/kleym $(OUT)/programs/linux-*/kleym-operator
	@programs=(); for folder in $(OUT)/programs/linux-*; do \
		programs+=("$${folder##*linux-}=$$folder/kleym-operator"); \
	done; \
	KLEYM_BUILD_REVISION=$(REVISION) $(CARGO) xtask image $(OUT)/image "$${programs[@]}"
	tools/release/assemble $(OUT)/programs $(OUT)/release-files
