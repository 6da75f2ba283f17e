# `make` alone lists what there is; every target does the set-up that it needs.
PYTHON ?= python3
WORKERS ?= 2
TEST_FLAGS ?=
DEMO_FLAGS ?=

PIP := -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench types wheel wheel-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

setup: .venv/ready ## create .venv and install plastikit into it, with all that it needs

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: '$(PYTHON)' is no Python 3.11 or newer." \
		"Name one that is: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "setting up .venv (once, a few minutes)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python $(PIP) --upgrade pip
	@.venv/bin/python $(PIP) --group dev --editable '.[all]'
	@touch $@

demo: setup ## a small sweep on real Meta-World, and its report
	@.venv/bin/plastikit demo $(DEMO_FLAGS)

test: setup ## the tests
	@.venv/bin/python -m pytest -q -n $(WORKERS) --dist worksteal $(TEST_FLAGS)

lint: setup types ## ruff and mypy --strict
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --check --quiet || { echo "error: not formatted; run 'make format'" >&2; exit 1; }
	@cd build/types && ../../.venv/bin/mypy --config-file ../../pyproject.toml \
		--cache-dir ../../.mypy_cache --no-error-summary *
	@echo "lint: clean"

format: setup ## let ruff format and mend what it can
	@.venv/bin/ruff check --quiet --fix --exit-zero
	@.venv/bin/ruff format --quiet

bench: setup ## measure what watching costs, beside other tools
	@.venv/bin/python $(PIP) --group bench
	@.venv/bin/python -m pytest -q -s -o addopts=--import-mode=importlib -o 'python_files=bench_*.py test_*.py' tests/benchmarks

# A type checker looks for plastikit.probes inside plastikit/: this tree of links has every module where its name says.
types:
	@rm -rf build/types && mkdir -p build/types/plastikit
	@ln -s $(patsubst %,../../../%,$(filter-out %/__pycache__,$(wildcard plastikit/*)) probes cli) build/types/plastikit
	@ln -s $(patsubst %,../../%,tests examples tests/oracles tests/zoo tests/benchmarks) build/types

wheel: setup ## build dist/*.whl by way of the source distribution
	@rm -rf dist
	@.venv/bin/python -m build --no-isolation --outdir dist . > build.log 2>&1 || { cat build.log >&2; exit 1; }
	@rm build.log

# PYTHONSAFEPATH keeps this checkout's plastikit/ from standing in for the installed one, in subprocesses too.
wheel-test: export PYTHONSAFEPATH = 1
wheel-test: wheel ## install the wheel into an empty environment and run the tests from it
	@echo "setting up .venv-wheel (empty each time, a few minutes)"
	@$(PYTHON) -m venv --clear .venv-wheel
	@.venv-wheel/bin/python $(PIP) --upgrade pip
	@.venv-wheel/bin/python $(PIP) --group test "$$(echo dist/*.whl)[all]"
	@.venv-wheel/bin/python -c 'import sys, plastikit; sys.exit(".venv-wheel" not in plastikit.__file__)' \
		|| { echo "error: plastikit was not imported from the wheel" >&2; exit 1; }
	@.venv-wheel/bin/python -m pytest -q -n $(WORKERS) --dist worksteal $(TEST_FLAGS)

clean: ## remove the environments, builds and caches; runs/ stays
	@rm -rf .venv .venv-wheel build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
