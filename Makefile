# Agent Factory. `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

# Images of Python set it. Each process would compile each module again, which takes longer than most of what they do.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit lint format bench bench-accept bench-bundle bench-day bench-reads chaos chaos-pods soak schema constraints clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-14s %s\n", $$1, $$2}'

setup: .venv/ready  ## Make .venv with everything in it, the agent-factory command too

.venv/ready: pyproject.toml constraints.txt tools/setup.sh
	@PYTHON=$(PYTHON) tools/setup.sh

demo: setup  ## Run the Customer Support Agent through the whole platform, once for each branch
	@exec $(BIN)/agent-factory demo

test: lint  ## Lint, then all tests this machine can run
	@$(BIN)/python tools/run_tests.py

test-unit: setup  ## Only the tests that need nothing but Python
	@$(BIN)/pytest -q -m unit -n 2

lint: setup  ## Format and lint checks, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/lint_tenancy.py

format: setup  ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## Measure compile times, the relay's look, and fused against unfused on the running platform
	@$(BIN)/python -m tests.benchmarks

chaos: setup  ## 200 executions while every part of the platform is killed and frozen at random (CHAOS_SEED repeats a run)
	@$(BIN)/python -m tests.chaos

chaos-pods: setup  ## 100 executions with pods on a cluster (AGENT_FACTORY_TEST_KUBERNETES) while the platform is killed
	@AGENT_FACTORY_CHAOS_WITH_PODS=100 $(BIN)/pytest -q -s tests/kubernetes/test_chaos_with_pods.py

soak: setup  ## Kill relays at 10,000 starts, and the control plane at 300 starts of real runs (long)
	@AGENT_FACTORY_SOAK_TRIGGERS=10000 $(BIN)/pytest -q -s tests/api/relay/test_relay_killed.py
	@AGENT_FACTORY_SOAK_RUNS=300 $(BIN)/pytest -q -s tests/platform/test_relay_restarts.py

bench-bundle: setup  ## Measure how Airflow follows publishes with 1,000 and 10,000 workflows (takes half an hour)
	@$(BIN)/python -m tests.benchmarks.bundle

bench-day: setup  ## Run a day's executions (EXECUTIONS=5000) and upkeep after it, and check sizes and times
	@$(BIN)/python -W ignore -m tests.benchmarks.day --executions $(or $(EXECUTIONS),5000)

bench-accept: setup  ## Measure how quick a signed webhook is accepted at 200 requests/s, beside a bare handler that writes a row
	@$(BIN)/python -W ignore -m tests.benchmarks.accept

bench-reads: setup  ## Measure lists and looks with 100,000 executions of 100 organisations, each beside its bound
	@$(BIN)/python -W ignore -m tests.benchmarks.reads

schema: setup  ## Write docs/workflow.schema.json, docs/roles.md and the client's schemas anew
	@$(BIN)/python -m compiler.published_schema > docs/workflow.schema.json
	@$(BIN)/python -m api.identity.documents > docs/roles.md
	@$(BIN)/python -m tools.client_schemas

constraints: setup  ## Resolve the dependencies anew into constraints.txt, for the oldest Python we promise (Debian 12)
	@$(BIN)/uv pip compile -q pyproject.toml --all-extras --no-annotate --no-header --python-version 3.11.2 --upgrade -o constraints.txt

clean:  ## Remove what setup and the tools made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
