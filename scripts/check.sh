#!/bin/sh
# Everything that can be judged without running the product.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/mypy
.venv/bin/python -m pytest -q tests/house
NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict
