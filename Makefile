# make demo      install, then pretrain a small language model and fine-tune a classifier on IMDB reviews
# make test      install, then the whole test suite, offline
# make test-all  the slow tests too, those of DeepSpeed where it can be built
# make test-oldest  the test suite with the lowest transformers that is supported, in .venv-oldest
# make check     formatter, linter, type checker and the whole test suite, as in CI
# make bench     plain Hugging Face and hfpipe in turns: all cases, or CASE=pretrain ARGS="--shape 30m"
# make install   make .venv alone; instant when nothing changed
# make dist      build wheel and source archive into dist/
# make clean     remove .venv, .venv-oldest, dist and caches; runs/ stays

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
OLDEST := .venv-oldest
PIP_OLDEST := $(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check \
  --constraint constraints-oldest.txt

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo "the pinned versions need Python 3.11 or newer; $(PYTHON) is '$$($(PYTHON) --version 2>&1)':" \
    "name another one, as in: make install PYTHON=python3.11" >&2; exit 1; }

.PHONY: demo test test-all test-oldest check bench install dist clean

demo: install
	@echo; echo "== 1 of 2: pretrain a small causal language model on the texts of IMDB reviews"
	$(BIN)/hfpipe run recipes/imdb_lm/tiny.yaml
	@echo; echo "== 2 of 2: fine-tune all-MiniLM-L6-v2 to tell positive from negative IMDB reviews"
	$(BIN)/hfpipe run recipes/imdb/demo.yaml

# A file's tests share one process, since they share runs that take seconds; two processes keep two cores busy.
WORKERS ?= 2
TOGETHER := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: install
	$(BIN)/python -m pytest $(TOGETHER)

# Where DeepSpeed cannot be built, its tests skip themselves and say so.
test-all: install
	@$(BIN)/python -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("deepspeed") is None)' || \
	  DS_BUILD_OPS=0 $(PIP) --no-build-isolation --editable '.[deepspeed]' || echo "DeepSpeed was not installed" >&2
	$(BIN)/python -m pytest $(TOGETHER) -m 'slow or not slow'

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest $(TOGETHER)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

CASE ?= all
ARGS ?=

bench: install
	$(BIN)/python -m bench $(CASE) $(ARGS)

install: $(INSTALLED)

# The stamp is written last, so an installation that was interrupted is done again. torch comes first and by its exact
# version: left to the resolver, a range brings gigabytes of CUDA packages on a machine without a GPU.
$(INSTALLED): pyproject.toml constraints.txt
	@$(CHECK_PYTHON)
	@test -x $(BIN)/python || { echo "making $(VENV) (some minutes)"; $(PYTHON) -m venv $(VENV); }
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[demo,test,check]'
	@touch $@

$(OLDEST)/.installed: pyproject.toml constraints-oldest.txt
	@$(CHECK_PYTHON)
	@test -x $(OLDEST)/bin/python || { echo "making $(OLDEST) (some minutes)"; $(PYTHON) -m venv $(OLDEST); }
	$(PIP_OLDEST) torch==2.13.0
	$(PIP_OLDEST) --editable '.[demo,test]'
	@touch $@

# build/ of an earlier build would be packed again
dist: install
	rm -rf build dist
	$(BIN)/python -c "from setuptools import build_meta as b; b.build_sdist('dist'); b.build_wheel('dist')" > /dev/null
	rm -rf build
	@ls dist

clean:
	rm -rf $(VENV) $(OLDEST) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
