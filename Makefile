# Everything a person or a robot does with this repository. `make help` lists it.
#
# A machine needs CPython 3.11, pip, gcc, make, git and apt; what else is needed, the targets install,
# once: stamp files in .venv make a second run cost nothing. Containers need root, so `run`,
# `test-root` and `bench` want to be run by root; the other targets do not.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

C_SOURCES := $(wildcard anchor_supervisor/kernel/*.c anchor_supervisor/kernel/*.h)
C_ALL := $(C_SOURCES) $(wildcard tests/kernel/*.c bench/native/*.c)
PYTHON_DIRS := anchor_supervisor tests configs bench docs
ASYNC_RULES := ASYNC102,ASYNC103,ASYNC104,ASYNC111,ASYNC113,ASYNC119,ASYNC120,ASYNC121

# Bytecode is made once, beside the sources, whatever the caller's habit is.
unexport PYTHONDONTWRITEBYTECODE

PRODUCT_PACKAGES := libnftables1
TEST_PACKAGES := nftables iproute2 curl busybox-static xfsprogs btrfs-progs
# Makers of images that nothing here wrote, and a registry.
TEST_PACKAGES += openssl skopeo umoci buildah crun debootstrap docker-registry apache2-utils
VM_PACKAGES := qemu-system-x86 linux-image-amd64 kmod zstd e2fsprogs udev

# Install the packages that are missing; read the package lists again only where that is not enough.
define install-missing
missing=$$(for name in $(1); do \
  dpkg-query -W -f='$${db:Status-Status}\n' "$$name" 2>/dev/null | grep -qx installed || echo "$$name"; \
done); \
if [ -n "$$missing" ]; then \
  echo "installing" $$missing; \
  install="$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends"; \
  $$install $$missing >/dev/null 2>&1 || { $(SUDO) apt-get update -qq; $$install $$missing >/dev/null; }; \
fi
endef

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: setup
setup: $(STAMPS)/product ## virtual environment, C extension and what the product needs from apt

.PHONY: setup-dev
setup-dev: $(STAMPS)/product $(STAMPS)/dev ## setup, and the tools of `check` and `test`

.PHONY: setup-vm
setup-vm: $(STAMPS)/dev $(STAMPS)/vm ## setup-dev, and QEMU with Debian's kernel for the test machine

$(STAMPS)/venv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip >= 25.1'
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/product: pyproject.toml $(C_SOURCES) | $(STAMPS)/venv
	@$(call install-missing,$(PRODUCT_PACKAGES))
	# A .pth file instead of an import hook: half the start-up time of `anchor ps`.
	$(BIN)/python -m pip install --quiet --editable . --config-settings editable_mode=compat
	$(BIN)/python -m compileall -q anchor_supervisor
	@touch $@

$(STAMPS)/dev: pyproject.toml | $(STAMPS)/product
	@$(call install-missing,$(TEST_PACKAGES))
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(STAMPS)/vm: Makefile | $(STAMPS)/dev
	@$(call install-missing,$(VM_PACKAGES))
	@touch $@

.PHONY: run
run: setup ## bring the demo fleet up, look at it from outside, stop it, prove that nothing is left
	PYTHONPATH=tests $(BIN)/python configs/run_demo.py

# Every test is in one of the three, and they do not meet: the first makes no kernel objects, and the
# last has a kernel of its own.
.PHONY: test
test: setup-vm ## the whole suite: the three that follow, at the same time
	@$(MAKE) --no-print-directory --jobs --keep-going TOGETHER=yes test-unit test-root test-vm

# Of several at the same time, each line says whose it is.
signed = $(if $(TOGETHER),2>&1 | sed --unbuffered 's/^/$@: /')

.PHONY: test-unit
test-unit: setup-dev ## the tests that need no root and no particular kernel
	$(BIN)/python -m pytest -m "not (root or vm)" $(signed)

.PHONY: test-root
test-root: setup-dev ## the tests that make real containers, on this kernel
	$(BIN)/python -m pytest -m "root or vm" $(signed)

.PHONY: test-vm
test-vm: setup-vm ## the tests that make real containers or exceed limits, on Debian's kernel in QEMU
	$(BIN)/python tests/vm/boot.py $(signed)

.PHONY: check
check: setup-dev ## linters, formatters, types, import contracts, and the C compiler at its strictest
	$(BIN)/ruff check $(PYTHON_DIRS)
	$(BIN)/ruff format --check $(PYTHON_DIRS)
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir $(VENV)/import-linter
	git grep -lwE 'trio|async' -- '*.py' | xargs $(BIN)/flake8-async --enable $(ASYNC_RULES)
	$(BIN)/clang-format --dry-run -Werror $(C_ALL)
	$(foreach source,$(filter %.c,$(C_SOURCES)),$(CC) -std=gnu11 -O2 -Wall -Wextra -Werror \
	  -Wno-unused-parameter -Wno-missing-field-initializers -fPIC \
	  $$($(BIN)/python -c 'import sysconfig; print("-I" + sysconfig.get_path("include"))') \
	  -fsyntax-only $(source) &&) true

.PHONY: fmt
fmt: setup-dev ## let the formatters have their way
	$(BIN)/ruff check --fix --exit-zero --quiet $(PYTHON_DIRS)
	$(BIN)/ruff format $(PYTHON_DIRS)
	$(BIN)/clang-format -i $(C_ALL)

.PHONY: bench
bench: setup ## how fast this machine starts containers, in minutes; the long form: docs/benchmarks.md
	$(BIN)/python -m pip install --quiet --group bench
	$(BIN)/anchor bench all --short --out bench/results

.PHONY: clean
clean: ## forget everything that was built or installed here
	rm -rf $(VENV) build *.egg-info .hypothesis .mypy_cache .ruff_cache .pytest_cache
	find anchor_supervisor -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
