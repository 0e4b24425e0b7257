# `make demo` and `make test` work on a fresh machine; everything they need goes into .venv.
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: setup demo test lint bench quality soak clean

setup: $(STAMP)

# uv does not read pip's settings: where pip knows a folder of wheels (a CPU build of torch, say), uv gets it too.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip --version >/dev/null && $(BIN)/pip install --quiet --disable-pip-version-check uv
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$($(BIN)/pip config get ':env:.find-links' 2>/dev/null || $(BIN)/pip config get global.find-links 2>/dev/null || true)}" \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev,train]'
	touch $(STAMP)

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
