PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
DEV_INSTALLED := .venv/.dev-installed
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
# uv takes a sixth of pip's time, but does not read a pip.conf: where it finds no index, pip may.
# Nor may it read pyproject.toml, whose constraint for `make lock` has no hash, or it installs nothing.
UV = $(BIN)/uv pip install --no-config --quiet --python $(BIN)/python --no-deps --compile-bytecode
PYTEST_WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test test-nightly check check-python check-sql hooks ui bench docs down lock wheel image sbom audit

help: ## List what make can do
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: $(INSTALLED) ## The whole line on three demo companies: CRM to published churn scores
	@$(BIN)/churn demo run

ui: $(INSTALLED) ## Dagster's UI on the same warehouse
	@$(BIN)/churn ui

# Its hundred processes read what the first of them has compiled.
test: export PYTHONDONTWRITEBYTECODE =
test: $(DEV_INSTALLED) ## Every test
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup --no-loadscope-reorder

test-nightly: $(DEV_INSTALLED) ## The tests that take many minutes each
	@$(BIN)/python -m pytest -m nightly

check: $(DEV_INSTALLED) ## ruff, mypy, deptry, import-linter and sqlfluff
	@$(MAKE) --no-print-directory -j 2 check-python check-sql

check-python:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .
	$(BIN)/deptry tests --exclude '^$$' --ignore DEP002,DEP004
	$(BIN)/lint-imports

check-sql:
	$(BIN)/python -m scripts.lint_sql
	$(BIN)/sqlfluff lint --disable-progress-bar --processes 1 --config dashboards/sqlfluff.cfg dashboards

hooks: $(DEV_INSTALLED) ## Check each commit before it is made
	@$(BIN)/pre-commit install

wheel: $(INSTALLED) ## Build dist/churn_warehouse-*.whl
	@$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# A tag may be moved to another image, a digest may not: this is what the Dockerfile's base is when a release is built.
BASE := python:3.11.14-slim-bookworm
BASE_DIGEST := sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

image: ## The image of a release, its base by digest
	docker build --file docker/Dockerfile --build-context $(BASE)=docker-image://$(BASE)@$(BASE_DIGEST) \
		--tag churn-warehouse:$$($(PYTHON) -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])') .

sbom: $(DEV_INSTALLED) ## What is shipped, with hashes: dist/churn_warehouse.cdx.json (CycloneDX)
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-format JSON --output-file dist/churn_warehouse.cdx.json

audit: $(DEV_INSTALLED) ## Known vulnerabilities of the locks: make audit DATABASE=all.zip (OSV's export for PyPI)
	@$(BIN)/python -m scripts.audit $(DATABASE) requirements.lock requirements-dev.lock

bench: $(DEV_INSTALLED) ## Benchmarks, each beside what it is compared with
	@$(BIN)/python -m benchmarks

docs: $(INSTALLED) ## Write docs/data-dictionary.md from the dbt project
	@$(BIN)/python -m scripts.data_dictionary

down: $(INSTALLED) ## Stop the embedded Postgres and the demo CRM
	@$(BIN)/churn down

lock: ## Write the locks from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		pyproject.toml --extra demo --group build -o requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		pyproject.toml --extra demo --extra dev --group build -c requirements.lock -o requirements-dev.lock
	echo uv | uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q \
		- -o requirements-uv.lock

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Churn Warehouse needs Python 3.11 or later; make PYTHON=python3.12 ... picks one.")'
	@echo "Installing into .venv (a minute or so the first time)"
	@$(PYTHON) -m venv .venv
	@$(PIP) --require-hashes -r requirements-uv.lock
	@$(UV) --require-hashes -r requirements.lock || $(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation -e '.[demo]'
	@touch $@

$(DEV_INSTALLED): $(INSTALLED) requirements-dev.lock
	@$(UV) --require-hashes -r requirements-dev.lock || $(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
