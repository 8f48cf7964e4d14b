# Needs python3 (3.11 to 3.13, with venv), make, bash and git. Every target prepares .venv by itself.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
LOCK := uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header
# The parts whose every line and branch must run under test.
WHOLE := gateway/core/*,gateway/store/*,gateway/flows/*

.PHONY: help setup fmt lint type test check demo dev bench faults lock

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-7s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Prepare .venv from the pinned requirements

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
		"Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; name another: make PYTHON=python3.13")'
	@echo "Preparing .venv (a minute or two, once)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --no-deps --require-hashes --requirement requirements/dev.txt # the pins are the whole closure
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

fmt: $(READY) ## Format the code and apply safe fixes
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lint: $(READY) ## Check style, imports between layers, and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/codespell

type: $(READY) ## Check types
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

test: $(READY) ## Run every test, with both coverage gates
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(BIN)/pytest --numprocesses 2 --dist loadfile --cov --cov-report=term | tee "$$log"; \
	echo "core, store and flows, which must be covered whole:"; \
	$(BIN)/coverage report --include='$(WHOLE)' --fail-under=100; \
	tail -n 1 "$$log" # pytest's summary is the last line, also of `make check`

check: ## All that CI runs: lint, type, test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory type
	@$(MAKE) --no-print-directory test

demo: $(READY) ## Run three tenants' jobs from request to verified webhook
	@$(BIN)/gateway demo

dev: $(READY) ## Run every part on this machine until Ctrl-C
	@exec $(BIN)/gateway dev

bench: $(READY) ## Measure rates, CPU and latency on the embedded parts
	@$(BIN)/python -m tests.bench

faults: $(READY) ## Draw faults from a seed against a steady load (SEED=1 MINUTES=1)
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),1)

lock: ## Pin the dependencies of pyproject.toml anew (needs uv)
	$(LOCK) --output-file requirements/runtime.txt
	$(LOCK) --extra embedded --group dev --output-file requirements/dev.txt
