# Every target makes what it needs: Python 3.11 or newer is enough, and for real Kafka a JDK (17+) and Maven.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/pytest

.PHONY: help setup demo lint types check test test-kafka soak soak-all bench profile clean

help: ## what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 14

setup: $(READY) ## make .venv with everything in it

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY) ## two clusters, a flow of orders, and their copy: until Ctrl-C
	@$(BIN)/replicator demo

lint: $(READY) ## style and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(READY) ## mypy --strict
	$(BIN)/mypy

check: lint types ## lint, types and the fast tests: under two minutes
	$(PYTEST) -q -n 2 -m 'not (soak or slow or kafka)'

test: $(READY) ## all tests but the long forms; with real Kafka wherever Java and Maven are
	@$(PYTEST) -q -n 2 -m 'not (soak or slow or kafka)'; quick=$$?; \
	  $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder --durations=20 -m '(slow or kafka) and not soak' && exit $$quick

test-kafka: $(READY) ## only those against real Kafka
	$(PYTEST) -m 'kafka and not soak'

soak: $(READY) ## an hour (SOAK_MINUTES=60) of broken brokers and workers on real Kafka
	$(PYTEST) -s -m soak tests/e2e/test_soak.py

soak-all: $(READY) ## the long forms of all tests: many hours
	$(PYTEST) -m soak --timeout=7200

bench: $(READY) ## side by side with MirrorMaker 2; ARGS="--quick", "--go", "--only latency", "--help"
	$(BIN)/python -m bench $(ARGS)

profile: $(READY) ## where a worker's time goes: bench/profiles/latest.*; ARGS="NAME --against EARLIER", "--help"
	$(BIN)/python -m bench.profiling $(or $(ARGS),latest)

clean: ## remove .venv and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
