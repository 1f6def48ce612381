# Everything below needs Python 3.11 and make beforehand; the rest it sets up itself.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE ?=

.PHONY: run demo test lint types contracts unit bench lock clean

run: $(VENV)/.ready-dev ## the whole control plane and a small fleet of simulated chargers
	$(BIN)/python manage.py run --fleet 8

demo: $(VENV)/.ready-dev ## the control plane and 200 chargers of a mixed fleet, ready to be moved to Profile 3
	$(BIN)/python manage.py run --demo 200

test: lint types contracts unit ## everything that must hold before a change lands

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.ready-dev
	$(BIN)/mypy .

contracts: $(VENV)/.ready-dev
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

unit: $(VENV)/.ready-dev
	tests/install_browser
	$(BIN)/pytest -n 2

bench: $(VENV)/.ready-dev ## prints a table and writes var/bench.json; PART=name runs one part
	$(BIN)/python -m tests.bench $(PART)

$(VENV)/.ready-dev: requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	touch $@

lock: ## after a change of the versions in pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --generate-hashes --no-header --python-version 3.11 -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --no-header --python-version 3.11 -o requirements-dev.lock

clean:
	rm -rf $(VENV) var
