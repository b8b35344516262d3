# Every target needs nothing but Python (3.11 or newer): python3 -m venv and pip do the rest.
PYTHON ?= python3
BIN := .venv/bin

OLDEST := .venv-oldest
OLDEST_TESTS := tests/test_dependencies.py tests/test_config.py tests/test_tokenizer.py tests/cli tests/checkpoints \
	tests/eval/test_eval_bleu.py tests/eval/test_eval_metrics.py tests/eval/test_eval_score.py tests/manifest tests/models \
	tests/decoding/test_search.py tests/training/test_trackers.py tests/training/test_freezing.py \
	tests/serving/test_uploads.py tests/serving/test_clients_of_others.py

.PHONY: demo dist docs install test test-slow test-oldest lint types check format

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

# Builds the documentation site in site/, without the network. The variable hides an advertisement of MkDocs Material.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# Builds the source distribution and the wheel in dist/, and checks their metadata.
dist: install
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

# Tests the code that depends most on other libraries, with the oldest versions that pyproject.toml accepts.
test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest --numprocesses auto --dist loadfile $(OLDEST_TESTS)

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check --constraint constraints-oldest.txt \
		--editable ".[ja,lora,ray,serve,spoken]" pytest pytest-xdist
	touch $@

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: install
	$(BIN)/mypy

check: lint types test

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
