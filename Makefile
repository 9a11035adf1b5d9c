# Installs what it needs into $(VENV), then does what it says: `make help`.

PYTHON ?= python3
VENV   ?= .venv
SWEEP  ?= digits
ARGS   ?=

# What to install JAX for: by what the machine has, or ACCEL=cpu, cuda12, tpu.
ACCEL ?= $(shell \
  if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU; then echo cuda12; \
  elif [ -e /dev/accel0 ] || [ -e /dev/vfio/0 ] || [ -n "$$TPU_NAME$$COLAB_TPU_ADDR$$TPU_ACCELERATOR_TYPE" ]; then echo tpu; \
  else echo cpu; fi)

BIN  := $(VENV)/bin
UV   := $(shell command -v uv 2>/dev/null)
PIP  := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
USE  := $(VENV)/.installed-$(ACCEL)
TEST := $(VENV)/.installed-$(ACCEL)-test

.DEFAULT_GOAL := help
.PHONY: help sweep plan check test lint format bench aot picture clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  with SWEEP=name (a file in sweeps/), ARGS="hydra overrides", ACCEL=cpu|cuda12|tpu, PYTHON=python3.12'

sweep: $(USE) ## train a sweep and say where the results are
	@$(BIN)/vsweep run sweep=$(SWEEP) report=true $(ARGS)

plan: $(USE) ## say what a sweep would run, and train nothing
	@$(BIN)/vsweep plan sweep=$(SWEEP) $(ARGS)

check: $(USE) ## hold the gradients of a sweep against central differences; fail where one is wrong
	@$(BIN)/vsweep check sweep=$(SWEEP) $(ARGS)

test: $(TEST) ## run all the tests (ARGS="tests/config/test_grid.py -k order" for some)
	$(BIN)/python -m pytest $(ARGS)

lint: $(TEST) ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(TEST) ## put the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(USE) ## time vsweep beside what is written by hand, whole sweeps, W&B, the report; verify in many blocks
	$(BIN)/python scripts/bench.py $(ARGS)
	$(BIN)/python scripts/bench_sweeps.py
	$(BIN)/python scripts/bench_verify.py
	$(BIN)/python scripts/bench_wandb.py
	$(BIN)/python scripts/bench_report.py

aot: ## compile for an H100 and TPUs that are not here; fail where a step costs more (ARGS=--accept)
	@$(MAKE) --no-print-directory VENV=$(VENV)-aot ACCEL=aot $(VENV)-aot/.installed-aot
	@$(VENV)-aot/bin/python scripts/aot.py $(ARGS)

picture: $(USE) ## make the README's pictures anew, from real sweeps
	$(BIN)/python scripts/picture.py

clean: ## remove the environments and what tools have cached, no results
	rm -rf $(VENV) $(VENV)-aot dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'vsweep needs Python 3.11 or newer: make PYTHON=python3.12' >&2; exit 2; }
	@echo 'making $(VENV)' >&2
	@$(if $(UV),$(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(VENV),$(PYTHON) -m venv $(VENV)) \
	  || { echo 'no environment could be made: on Debian, apt install python3-venv' >&2; exit 2; }

$(USE): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing vsweep for $(ACCEL)' >&2
	@$(PIP) --constraint constraints.txt --editable '.[$(ACCEL)]' >&2
	@touch $@

$(TEST): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing vsweep for $(ACCEL), and what its tests need' >&2
	@$(PIP) --constraint constraints.txt --editable '.[$(ACCEL),test]' >&2
	@touch $@ $(USE)
