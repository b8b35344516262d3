# Every target needs nothing but Python (3.10 or newer): python3 -m venv and pip do the rest.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo install test test-slow lint types check format

# A small model translates bundled clips. It needs no more than users do; what is installed for tests will do as well.
# Compiling all that is installed takes a third of the time, and the demo imports a small part of it.
demo: $(if $(wildcard .venv/.installed),install,.venv/.demo)
	$(BIN)/python recipes/demo/show.py

.venv/.demo: pyproject.toml constraints.txt
	@echo "installing Voxlate into .venv, which takes a minute or two ..."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	touch $@

test: install
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-slow: install
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m slow

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

check: lint types test

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
