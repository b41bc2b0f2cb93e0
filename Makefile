# The verbs of this project. `make` alone prints them.
.DEFAULT_GOAL := help
PY := .venv/bin/python

.PHONY: help setup engine engine-down image demo check test test-unit bench format docs clean

help: ## Show these verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make ./.venv with everything this checkout needs
	@scripts/setup.sh

engine: ## Find a container engine, or install and start one
	@python3 scripts/engine.py up

engine-down: ## Stop the engine, if `make engine` started it
	@python3 scripts/engine.py down

image: setup engine ## Build the machine image
	@.venv/bin/cloudrouter image build

demo: setup ## Set everything up and run the main job on examples/, showing each step
	@$(PY) scripts/demo.py

check: setup ## Format, lint, types and house rules
	@scripts/check.sh

test: setup ## All tests; brings up an engine and stops what it started
	@scripts/test.sh

test-unit: setup ## The fast tests, without an engine
	@$(PY) -m pytest -q tests/house tests/unit -n auto

bench: setup ## Measure against docker and print the table
	@$(PY) bench/run.py

format: setup ## Let ruff format and fix
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

docs: setup ## Write the generated pages again
	@$(PY) -m cloudrouter.cli.reference

clean: ## Remove the virtual environment and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
