# Everything starts here. Each target makes what it needs first, on a machine that has only Python 3.11+, git and make.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check format bench soak docs lock clean
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
JOBS ?= 2
# Tests never read the data folder or the settings of whoever runs them.
PYTEST = env -u OMEGA_HOME $(BIN)/python -m pytest -q --no-header -n $(JOBS) --dist worksteal

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv as requirements.lock says (the others do this by themselves)
	@.ci/setup

demo: setup ## review this repository, be denied, be killed, resume, replay, verify: about two minutes
	@$(BIN)/python examples/demo.py

test: setup ## the tests, in under five minutes
	@$(PYTEST) -m "not slow and not soak" -o faulthandler_timeout=100 -o faulthandler_exit_on_timeout=true tests

test-slow: setup ## the longer suites
	@$(PYTEST) -m "slow and not soak" -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true tests

check: setup ## format, lint, types, import contract, shape, promises, documentation
	@.ci/check

format: setup ## put the code into its form
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format --quiet .

bench: setup ## the figures, against DBOS and LangGraph in an environment of their own; writes bench/results.json
	@$(BIN)/python bench/run.py $(BENCH)

soak: setup ## the long counts: kills, seeds, mutations; writes a dated result under bench/soak/
	@$(BIN)/python bench/soak.py $(SOAK)

docs: setup ## the documentation as a site in ./site
	@.ci/setup docs
	@words=$$(NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict 2>&1) || { echo "$$words"; exit 1; }
	@echo "site/index.html"

lock: setup ## resolve the dependencies anew: requirements.lock, docs/requirements.lock and the pins in pyproject.toml
	@$(BIN)/python .ci/lock

clean: ## remove what was made here, .venv included
	@rm -rf .venv site dist build omega-report .omega bench/.env bench/.env-gateways .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -exec rm -rf {} +
