# make demo      install, then pretrain a small language model and fine-tune a classifier on IMDB reviews
# make test      install, then the whole test suite, offline
# make test-all  the slow tests too
# make check     formatter, linter, type checker and the whole test suite, as in CI
# make install   make .venv alone; instant when nothing changed
# make clean     remove .venv and caches; runs/ stays

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all check install clean

demo: install
	@echo; echo "== 1 of 2: pretrain a small causal language model on the texts of IMDB reviews"
	$(BIN)/hfpipe run recipes/imdb_lm/tiny.yaml
	@echo; echo "== 2 of 2: fine-tune all-MiniLM-L6-v2 to tell positive from negative IMDB reviews"
	$(BIN)/hfpipe run recipes/imdb/demo.yaml

test: install
	$(BIN)/python -m pytest

test-all: install
	$(BIN)/python -m pytest -m 'slow or not slow'

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

install: $(INSTALLED)

# The stamp is written last, so an installation that was interrupted is done again. torch comes first and by its exact
# version: left to the resolver, a range brings gigabytes of CUDA packages on a machine without a GPU.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "the pinned versions need Python 3.11 or newer; $(PYTHON) is '$$($(PYTHON) --version 2>&1)':" \
	    "name another one, as in: make install PYTHON=python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV) (some minutes)"; $(PYTHON) -m venv $(VENV); }
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[demo,test,check]'
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
