# The verbs of this project. `make` alone prints them.
.DEFAULT_GOAL := help
PY := .venv/bin/python

.PHONY: help setup engine engine-down image demo check test test-unit test-flags bench bench-agents format docs site cast clean

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

test-flags: setup ## Prove that no flag of the command line is parsed and ignored
	@$(PY) scripts/flags.py

bench: setup ## Measure against docker and print the table
	@$(PY) bench/run.py

bench-agents: setup ## Let scripted agents do twenty tasks by the manual, and count
	@$(PY) bench/agents.py

format: setup ## Let ruff format and fix
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

docs: setup ## Write the generated pages again
	@$(PY) scripts/pages.py && $(PY) scripts/sdk_reference.py

site: setup ## Build the pages as a site in build/site; a warning is a failure
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict && echo "build/site/index.html"

cast: setup engine ## Record the moving picture of the README anew
	@$(PY) scripts/cast.py record

clean: ## Remove the virtual environment and caches
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
