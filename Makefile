# `make help` lists the targets. Everything runs in .venv, made from requirements.lock.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check bench faults soak down clean

PYTHON ?= python3
BIN := .venv/bin
HOURS ?= 1
# More words for pytest, such as PYTEST=--reverse.
PYTEST ?=
FAULT_SECONDS ?= 600

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Rebuilt when the lock or the project changes.
$(BIN)/.installed: requirements.lock pyproject.toml
	@echo "Installing into .venv …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(BIN)/.installed ## Start everything, send events, read them back and verify them; leaves it running
	@$(BIN)/hyrelog demo

test: $(BIN)/.installed ## Run the tests on an embedded stack of their own
	@$(BIN)/hyrelog fetch
	@# The commands of the tour and of the operator's page read answers with jq; without it, these two pages are not walked.
	@command -v jq >/dev/null || [ "$$(id -u)" != 0 ] || { apt-get update -qq && apt-get install -qq -y jq; } || true
	$(BIN)/python -m tests.suite -n 3 --no-loadscope-reorder $(PYTEST)

test-slow: $(BIN)/.installed ## Run the tests that take minutes: outages, freezes, lost answers, each figure of the bench
	@$(BIN)/hyrelog fetch
	$(BIN)/pytest -m slow $(PYTEST)

check: $(BIN)/.installed ## Lint, format, layers, types, unit tests: the fast ones first
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pytest tests/unit

bench: $(BIN)/.installed ## Measure and write tests/bench/results.md; AGAINST=<revision>: compare with it, 10 minutes (FULL=1: an hour)
	@# Without wrk the load comes from tests/bench/poster.py, which costs more of the machine.
	@command -v wrk >/dev/null || [ "$$(id -u)" != 0 ] || { apt-get update -qq && apt-get install -qq -y wrk; } || true
	$(BIN)/python -m tests.bench $(if $(AGAINST),--against $(AGAINST) $(if $(FULL),--full)) $(if $(ONLY),--only $(ONLY))

faults: $(BIN)/.installed ## Kill things under load for FAULT_SECONDS (600), then check every event
	$(BIN)/python -m tests.faults --seconds $(FAULT_SECONDS)

soak: $(BIN)/.installed ## The same for HOURS=n
	$(BIN)/python -m tests.faults --hours $(HOURS)

down: $(BIN)/.installed ## Stop the demo; its data stays
	@$(BIN)/hyrelog down

clean: ## Stop the demo and delete its data, the environment and all caches of the tools
	@if [ -x $(BIN)/hyrelog ] && [ -e .hyrelog ]; then $(BIN)/hyrelog down --delete-data; fi
	rm -rf .venv .bench .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
