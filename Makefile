# Every target installs what it needs into $(VENV) first: `make help`.

PYTHON ?= python3
VENV   ?= .venv
SWEEP  ?= digits
ARGS   ?=

# The build of JAX to install: detected, or ACCEL=cpu, cuda12, cuda13, tpu. CUDA 12 runs on newer drivers too.
ACCEL ?= $(shell \
  if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -q GPU; then echo cuda12; \
  elif [ -e /dev/accel0 ] || [ -e /dev/vfio/0 ] || [ -n "$$TPU_NAME$$COLAB_TPU_ADDR$$TPU_ACCELERATOR_TYPE" ]; then echo tpu; \
  else echo cpu; fi)

CONSTRAINTS ?= constraints.txt
# A Python that the newest JAX is made for, and the packages that are to be as new as it.
NEWEST      ?= python3.13
NUMERIC     := jax[a-z0-9-]*|ml.dtypes|numpy|scipy|optax|chex|opt.einsum

BIN  := $(VENV)/bin
UV   := $(shell command -v uv 2>/dev/null)
PIP  := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
USE  := $(VENV)/.installed-$(ACCEL)
TEST := $(VENV)/.installed-$(ACCEL)-test
DOCS := $(VENV)/.installed-$(ACCEL)-docs

.DEFAULT_GOAL := help
.PHONY: help sweep plan check test test-all test-newest lint format docs bench bench-gpu aot picture clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  with SWEEP=name (a file in sweeps/), ARGS="hydra overrides", ACCEL=cpu|cuda12|cuda13|tpu, PYTHON=python3.12'

sweep: $(USE) ## train a sweep and print its directory
	@$(BIN)/vsweep run sweep=$(SWEEP) report=true $(ARGS)

plan: $(USE) ## print what a sweep would train
	@$(BIN)/vsweep plan sweep=$(SWEEP) $(ARGS)

check: $(USE) ## compare the gradients of a sweep with central differences
	@$(BIN)/vsweep check sweep=$(SWEEP) $(ARGS)

test: $(TEST) ## run the tests but for the long tail (ARGS="tests/config/test_grid.py -k order" for some)
	$(BIN)/python -m pytest $(ARGS)

test-all: $(TEST) ## run all tests, with the long tail of kills, random words and failing servers
	$(BIN)/python -m pytest -m '' $(ARGS)

test-newest: ## run the tests with the newest JAX, on Python NEWEST=python3.13
	@grep -viE '^($(NUMERIC))==' constraints.txt >$(VENV)-newest.txt
	@$(MAKE) --no-print-directory test PYTHON=$(NEWEST) VENV=$(VENV)-newest CONSTRAINTS=$(VENV)-newest.txt

lint: $(TEST) ## check style, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(TEST) ## apply the code style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS) ## build the documentation into docs/_build; warnings and broken links are errors
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet docs docs/_build
	@echo docs/_build/index.html

bench: $(USE) ## time vsweep against hand-written code, whole sweeps, W&B, the report and verify
	$(BIN)/python scripts/bench.py $(ARGS)
	$(BIN)/python scripts/bench_sweeps.py
	$(BIN)/python scripts/bench_plan.py
	$(BIN)/python scripts/bench_verify.py
	$(BIN)/python scripts/bench_wandb.py
	$(BIN)/python scripts/bench_report.py

bench-gpu: $(USE) ## time vsweep on a GPU against hand-written code; writes bench_gpu.json
	$(BIN)/python scripts/bench_gpu.py $(ARGS)

aot: ## compile for H100 and TPUs without having one; fail if a step costs more (ARGS=--accept)
	@$(MAKE) --no-print-directory VENV=$(VENV)-aot ACCEL=aot $(VENV)-aot/.installed-aot
	@$(VENV)-aot/bin/python scripts/aot.py $(ARGS)

picture: $(USE) ## redraw the pictures of the documentation from real sweeps
	$(BIN)/python scripts/picture.py

clean: ## remove environments and caches, but no results
	rm -rf $(VENV) $(VENV)-aot $(VENV)-newest $(VENV)-newest.txt dist docs/_build docs/_generated .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'vsweep needs Python 3.11 or newer: make PYTHON=python3.12' >&2; exit 2; }
	@echo 'creating $(VENV)' >&2
	@$(if $(UV),$(UV) venv --quiet --python "$$(command -v $(PYTHON))" $(VENV),$(PYTHON) -m venv $(VENV)) \
	  || { echo 'cannot create an environment; on Debian, run: apt install python3-venv' >&2; exit 2; }

$(USE): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing vsweep for $(ACCEL)' >&2
	@$(PIP) --constraint $(CONSTRAINTS) --editable '.[$(ACCEL),dashboard]' >&2
	@touch $@

$(TEST): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing vsweep for $(ACCEL), and the test tools' >&2
	@$(PIP) --constraint $(CONSTRAINTS) --editable '.[$(ACCEL),test]' >&2
	@touch $@ $(USE)

$(DOCS): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing vsweep for $(ACCEL), and the documentation tools' >&2
	@$(PIP) --constraint $(CONSTRAINTS) --editable '.[$(ACCEL),dashboard,docs]' >&2
	@touch $@ $(USE)
