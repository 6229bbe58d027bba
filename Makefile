# Two commands do all the set-up: `make demo` (the main job) and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test coverage test-slow lint types docs bench evidence clean

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $(READY)

demo: $(READY)            ## pre-train on real images, evaluate, draw, print the table
	$(BIN)/lightning-contrast demo

test: $(READY)            ## everything that is not marked slow
	$(BIN)/python -m pytest -m "not slow" -n 2

coverage: $(READY)        ## the same, with the share of lines that it runs
	$(BIN)/python -m pytest -m "not slow" -n 2 --cov --cov-report=term:skip-covered

test-slow: $(READY)       ## the rest; green before a release
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

bench: $(READY)           ## peers in an environment of their own (.peers, several GB), tables into docs/benchmarks.md
	$(BIN)/python -m benchmarks

evidence: $(READY)        ## the published selection of methods at an equal budget, into docs/evidence
	$(BIN)/lightning-contrast evidence all

docs: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info
