# `make demo` and `make test` do all their own set-up: a virtual environment in .venv, and the package installed in it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
C_FILES := $(wildcard csrc/*.c csrc/*/*.c)
H_FILES := $(wildcard csrc/*.h csrc/*/*.h)
PACKAGE_FILES := pyproject.toml setup.py csrc/ffibuild.py $(C_FILES) $(H_FILES) $(wildcard src/setsid/* src/setsid/*/*.py man/* completions/*/*)
XTERM := examples/web/node_modules/.made
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CC ?= cc

.PHONY: FORCE help demo test test-webterm webterm wheels matrix docs lint format bench clean
help:
	@echo "make demo    see what the package does"
	@echo "make test    run the tests"
	@echo "make webterm       a terminal in the browser, the example; PROGRAM=... runs another than your shell"
	@echo "make test-webterm  test that in a Chromium"
	@echo "make wheels  build the wheels of all platforms in dist/, audit them, run those that can be run"
	@echo "make matrix  run the tests on every interpreter that can be had; NOX='-s clear core table' as CI does"
	@echo "make docs    draw docs/sessions.svg"
	@echo "make lint    check style, types and warnings"
	@echo "make format  put Python and C files into shape"
	@echo "make bench   measure, and write benchmarks/results.json"
	@echo "make clean   remove what the others made"

demo: $(VENV)/installed
	@$(BIN)/python examples/demo.py

test: $(VENV)/test
	$(BIN)/python -m pytest $(TESTS)

webterm: $(VENV)/examples $(XTERM)
	@$(BIN)/python examples/webterm.py $(PROGRAM)

test-webterm: $(VENV)/browser $(XTERM)
	$(BIN)/python -m pytest -n0 tests/browser

wheels: $(VENV)/wheels
	@ZIG_GLOBAL_CACHE_DIR=$(CURDIR)/$(VENV)/zig $(BIN)/python wheels/make.py $(WHEELS)

matrix: $(VENV)/matrix $(VENV)/wheels
	ZIG_GLOBAL_CACHE_DIR=$(CURDIR)/$(VENV)/zig PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/nox $(NOX)

docs:
	$(PYTHON) docs/picture.py

lint: $(VENV)/lint $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/clang-format --dry-run --Werror $(C_FILES) $(H_FILES) benchmarks/*.c tests/native/*.c
	$(BIN)/python wheels/compile_check.py
	$(BIN)/zizmor --offline --persona pedantic --quiet .github/workflows

format: $(VENV)/lint
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES) $(H_FILES) benchmarks/*.c tests/native/*.c

bench: $(VENV)/bench
	$(BIN)/python benchmarks/bench.py $(BENCH)

clean:
	rm -rf $(VENV) $(VENV).python build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info examples/web/node_modules

# Changes when PYTHON means another interpreter, and all that was made with the old one is made anew.
$(VENV).python: FORCE
	@version="$$($(PYTHON) -c 'import sys; print(sys.executable, sys.version)' 2>&1)"; \
	    test "$$version" = "$$(cat $@ 2>/dev/null)" || echo "$$version" >$@
FORCE:

# What pip would report with a traceback is said in a line.
$(VENV)/made: $(VENV).python
	@command -v "$(PYTHON)" >/dev/null || { echo "setsid: $(PYTHON) is missing; install Python 3.10 or later" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "setsid: $(PYTHON) is older than 3.10; name a newer one: make PYTHON=python3.x ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	    { echo "setsid: Python's venv is missing; install it (Debian: python3-venv)" >&2; exit 1; }
	@command -v $(firstword $(CC)) >/dev/null || { echo "setsid: no C compiler; install one (Debian: gcc)" >&2; exit 1; }
	@echo '#include <stdlib.h>' | $(CC) -E - >/dev/null 2>&1 || \
	    { echo "setsid: the C library's headers are missing; install them (Debian: libc6-dev)" >&2; exit 1; }
	@test -e "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" || \
	    { echo "setsid: Python's headers are missing; install them (Debian: python3-dev)" >&2; exit 1; }
	@echo "making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --upgrade "pip>=25.1" "setuptools>=77" "cffi>=2" || \
	    { echo "setsid: could not download pip, setuptools and cffi; is the package index reachable?" >&2; exit 1; }
	@touch $@

# Not isolated, so that the objects stay in build/: the tests read the symbols of the child's.
$(VENV)/installed: $(VENV)/made $(PACKAGE_FILES)
	@echo "compiling and installing the package in $(VENV) ..."
	@rm -rf build
	@$(PIP) install --no-build-isolation --no-deps --force-reinstall .
	@touch $@

$(VENV)/test: $(VENV)/installed pyproject.toml
	@$(PIP) install --group test
	@touch $@

$(VENV)/examples: $(VENV)/installed pyproject.toml
	@$(PIP) install --group examples
	@touch $@

$(VENV)/browser: $(VENV)/examples pyproject.toml
	@$(PIP) install --group browser
	@touch $@

$(XTERM): examples/web/package.json
	@command -v npm >/dev/null || { echo "setsid: npm is missing; install it (Debian: npm)" >&2; exit 1; }
	@echo "installing xterm.js in examples/web/node_modules ..."
	@npm install --prefix examples/web --no-package-lock --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(VENV)/wheels: $(VENV)/made pyproject.toml
	@$(PIP) install --group wheels
	@touch $@

$(VENV)/bench: $(VENV)/installed pyproject.toml
	@$(PIP) install --group bench
	@touch $@

$(VENV)/matrix: $(VENV)/made pyproject.toml
	@$(PIP) install --group matrix
	@touch $@

$(VENV)/lint: $(VENV)/made pyproject.toml
	@$(PIP) install --group lint
	@touch $@
