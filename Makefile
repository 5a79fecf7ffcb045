# make demo    train two networks on scikit-learn's digits
# make test    run the test suite
# Each target sets up what it lacks in .venv; PYTHON=python3.12 chooses the interpreter of a new one.

PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
DEMO ?= $(VENV)/bin/tn-qnn train digits
BENCH ?= $(PY) -m bench
GPU_PY = $(if $(wildcard $(PY)),$(PY),$(PYTHON))

# Extras that are installed, one stamp each: nothing is asked of pip until setup.cfg changes.
STAMP = $(VENV)/.installed
INSTALL = $(PY) -m pip install --quiet --no-build-isolation --editable

.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-gpu gpu-check bench-gpu lint bench measure bench-learning learning \
	clean

help:
	@echo "make demo | test | test-slow | test-gpu | lint | bench | bench-learning | clean"
	@echo "with a GPU: make gpu-check | bench-gpu"

demo: $(STAMP)
	$(DEMO)
	$(DEMO) --model wide

test: $(STAMP)-test
	$(PY) -m pytest -m "not slow and not gpu"

# Exit code 5 says that no test bears the mark; every other one is passed on.
test-slow: $(STAMP)-test
	$(PY) -m pytest -m slow || test $$? -eq 5

test-gpu: $(STAMP)-test
	$(PY) -m pytest -m gpu

# With what this machine has: CUDA's wheels are large. What is missing is installed, from wheels/ if
# there is such a folder. Exit code 3 of the program: there is no GPU.
gpu-check:
	@$(GPU_PY) -m bench.gpu.check

# Ten minutes at most; the next call goes on.
bench-gpu:
	@$(GPU_PY) -m bench.gpu

lint: $(STAMP)-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# In an environment of its own: the peers pin versions of what the tests use.
bench:
	$(MAKE) VENV=$(VENV)-bench measure

measure: $(STAMP)-bench
	$(BENCH)

# Hours; the next call goes on.
bench-learning:
	$(MAKE) VENV=$(VENV)-bench learning

learning: $(STAMP)-bench
	$(PY) -m bench.learning

# Leaves the environments and runs/ alone: both took time to make.
clean:
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

$(STAMP): setup.cfg pyproject.toml | $(VENV)/.ready
	$(INSTALL) .
	@touch $@

$(STAMP)-%: setup.cfg pyproject.toml | $(VENV)/.ready
	$(INSTALL) ".[$*]"
	@touch $@ $(STAMP)

# An environment that is there already is kept, whoever made it.
$(VENV)/.ready:
	@$(PY) -m pip --version >/dev/null 2>&1 || { \
	    command -v $(PYTHON) >/dev/null \
	        || { echo "No '$(PYTHON)' found: install Python 3.11 or newer, or say PYTHON=path." >&2; exit 1; }; \
	    $(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "tn_qnn needs Python 3.11 or newer; $(PYTHON) is %d.%d. Say make PYTHON=python3.12, for example." % v[:2])' \
	        && $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install --quiet "setuptools>=77"
	@touch $@
