# make demo    run the examples          make check   style, types, who imports whom
# make test    run all tests             make bench   measure, beside make and ninja
# make chaos   kill runners for as long as you like: ARGS="--seeds 0:1000"
# make chaos-serving  the same with a node that serves      make soak  a node at work for twenty minutes
# make fuzz    FUZZ=documents RUNS=1000000: inputs nobody would think of (documents, expressions, outputs, streams)
# make bench-peers  install what `--full` measures besides, in .bench
# make docs    the pages of docs/ as HTML, in build/docs
# make protos  generate runner/v1 anew from proto/
# Each sets up what it needs, once, in .venv. A Python of your choice: make PYTHON=python3.12 demo

SHELL := /bin/sh
BIN := .venv/bin
READY := .venv/ready

.DEFAULT_GOAL := help
.PHONY: help venv demo test chaos chaos-serving soak fuzz check bench bench-peers docs protos format clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//; 1,9p; 9q' Makefile

venv: $(READY)

$(READY): pyproject.toml constraints.txt
	@.ci/venv $(PYTHON)
	@touch $@

demo: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/demo.py
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m examples.node_demo
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m examples.forward_demo

# Many tests wait for processes, so that one more worker than there are processors has something to do; four are enough for anybody.
PROCESSES ?= $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 4)))

test: $(READY)
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

chaos: $(READY)
	@$(BIN)/python -m tests.chaos $(ARGS)

chaos-serving: $(READY)
	@$(BIN)/python -m tests.chaos.serving $(ARGS)

soak: $(READY)
	@$(BIN)/python -m tests.soak $(ARGS)

FUZZ ?= documents
RUNS ?= 1000000

fuzz: $(READY)
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,fuzz]'
	@$(BIN)/python -m tests.fuzz $(FUZZ) --runs $(RUNS) $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/test_imports.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)
	@$(BIN)/python -m bench $(ARGS)

bench-peers: $(READY)
	@$(BIN)/python -m bench.peers --install

docs: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

protos: $(READY)
	@.ci/protos

clean:
	rm -rf .venv .bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
