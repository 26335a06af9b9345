# `make train` and `make test` set up what they need: .venv, with the newest
# Python from 3.11 to 3.13 that there is and the versions of constraints.txt.
# `make test PYTHON=python3.12` takes that interpreter, in an environment of its
# own, with the newest releases (Python 3.11 keeps the pins).
ifeq ($(origin PYTHON),undefined)
# pyenv has interpreters that are on no PATH, and shims that start nothing.
PYTHON := $(shell for version in 3.13 3.12 3.11; do \
  for python in python$$version \
    $(HOME)/.pyenv/versions/$$version.*/bin/python3; do \
    $$python -c 'import sys; print(sys._base_executable)' 2>/dev/null \
      && exit; \
  done; done)
ifeq ($(PYTHON),)
$(error Python 3.11, 3.12 or 3.13 is needed, and none is on the PATH)
endif
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
else
# pyenv has interpreters that are on no PATH.
WANTED := $(PYTHON)
override PYTHON := $(shell $(PYTHON) -c 'import sys; print(sys.executable)' \
  2>/dev/null || ls $(HOME)/.pyenv/versions/*/bin/$(PYTHON) 2>/dev/null | tail -1)
ifeq ($(PYTHON),)
$(error there is no $(WANTED) on this machine; see `ls ~/.pyenv/versions`)
endif
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV ?= .venv-$(VERSION)
CONSTRAINTS ?= $(if $(filter 3.11,$(VERSION)),constraints.txt)
endif
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

# Both workers share what a file compiles: halves of the list, the rest by turns.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal -q

.PHONY: install train test test-all quick soak faults release-check \
  onnx-check results lint types format clean

train: $(INSTALLED)
	@$(BIN)/python -m experiments.compare \
	  --config=experiments/configs/digits_lt.py \
	  --methods=sgd,sam,imbsam,sse_sam,rsam --seeds=5 --workdir=runs/digits_lt

# What every change must pass: cheap things first.
test: lint types
	$(PYTEST) -m "not extended"

# The rest, so that both together are every test once.
test-all: $(INSTALLED)
	$(PYTEST) -m extended

# While writing: what neither trains nor starts programs.
quick: lint types
	$(PYTEST) -m "not extended and not trains"

# Kills a run fifty times at random moments, and another one 200 times by faults
# of all kinds; a failure names its seed, and `make soak SEED=7` repeats it.
SEED ?= $(shell date +%s)
FAULTS ?= 200
soak: $(INSTALLED)
	IMBSAM_SOAK_KILLS=50 IMBSAM_SOAK_FAULTS=$(FAULTS) IMBSAM_SOAK_SEED=$(SEED) \
	  $(BIN)/python -m pytest -q -s -m extended \
	  tests/experiment/kill_test.py tests/experiment/soak_test.py

# The faults that a run must withstand; `pytest -k f7_` is one of them.
faults: $(INSTALLED)
	$(PYTEST) -m faults

# Before a release: the newest packages with other Pythons, and many kills.
PYTHONS ?= python3.11 python3.12
release-check: test test-all soak
	for python in $(PYTHONS); do \
	  $(MAKE) test PYTHON=$$python || exit 1; \
	done

# Whether runs become ONNX, in an environment of its own: jax2onnx needs an
# earlier JAX than constraints.txt.
ONNX := .venv-onnx
onnx-check: $(ONNX)/installed
	$(ONNX)/bin/python -m tests.onnx_check

$(ONNX)/installed: pyproject.toml
	$(PYTHON) -m venv --clear $(ONNX)
	$(ONNX)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --editable '.[train,onnx]'
	@touch $@

# Tables of README.md and results/ from results/data/, and what follows from the
# address in pyproject.toml.
results: $(INSTALLED)
	$(BIN)/python -m results.render

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/pyrefly check

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

# The version stands in __init__.py, so that another one is installed anew.
$(INSTALLED): pyproject.toml constraints.txt imbsam_jax/__init__.py
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), sys.version' \
	  || (echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1)
	@echo "setting up $(VENV) with $$($(PYTHON) --version) and the packages of" \
	  "pyproject.toml (a few minutes, once)"
	@test "$$($(BIN)/python --version 2>&1)" = "$$($(PYTHON) --version)" \
	  || $(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv .venv-* runs build *.egg-info /tmp/imbsam_tests
