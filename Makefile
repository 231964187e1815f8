# make demo    a Spikformer learns handwritten digits, in about a minute and a half on one core
# make test    the tests (make lint: style and types; make docs: the tables in the documentation)
# make site    the documentation as a site, in site/index.html
PYTHON ?= python3
BIN := .venv/bin
RUN ?= demo

.PHONY: demo test lint docs site wheel clean

demo: .venv/installed
	$(BIN)/spikeformers train digits --run $(RUN) --resume

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: .venv/installed-dev
	$(BIN)/python docs/tables.py

site: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

wheel: .venv/installed-dev
	$(BIN)/python -m build --wheel

clean:
	rm -rf .venv dist build runs site

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "spikeformers needs Python 3.11 or newer: make demo PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

.venv/installed-dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch .venv/installed $@

.venv/installed-docs: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[docs]'
	@touch .venv/installed $@
