# The two commands are `make demo` and `make test`; everything they need they install themselves.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CSI_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/csi-driver
export CSI_CACHE

.PHONY: help demo test e2e cluster bench lint prepare charts image

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: prepare ## Take one volume through its whole life, on a real NVMe disk in a guest machine
	@echo "demo: building (the AWS SDK takes minutes the first time)"
	@cargo build --workspace --bins
	@cargo run --quiet --bin demo
	@echo 'demo: the same through kubectl, helm and claims: make cluster'

test: prepare ## Pass every test: units, simulator, kernel, guest, official csi-sanity
	@sanity-tests/run-tests.sh

e2e: prepare ## Pass the tests of the charts on a real Kubernetes with a node in the guest
	@cargo build --workspace --bins
	@cargo test --workspace --test kubernetes -- --nocapture

cluster: prepare ## Keep a real Kubernetes with both charts until Ctrl-C, and say how to use it
	@cargo build --workspace --bins
	@cargo run --quiet --bin cluster

# The plugins are built by themselves, so that nothing of the harness is compiled into them.
bench: prepare ## Measure the release binaries beside the limit and PEER_EBS_DRIVER; BENCH=--quick is shorter
	@cargo build --release -p csi-controller -p csi-node -p csi-sim --bins
	@cargo run --release --quiet -p sanity-tests --bin bench -- $(BENCH)

lint: ## Check formatting, lints, and licences and advisories of dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	@if command -v cargo-deny >/dev/null; then cargo deny check; \
	else echo "SKIPPED: cargo deny (cargo install cargo-deny)"; fi

prepare: ## Install packages and tools, build the guest's disk (kept in $(CSI_CACHE))
	@sanity-tests/prepare.sh

charts: prepare ## Write the charts' built-in defaults and the plain manifests
	@deploy/charts/generate.sh

image: ## Build the image without a registry, print its size, write its SBOM
	@deploy/image/build.sh
