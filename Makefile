# SPDX-License-Identifier: GPL-2.0-only
# `make run` and `make test` set everything up by themselves; see README.md.

HARNESS = .venv/bin/ttm-harness
PYTEST = .venv/bin/python -m pytest
# As many at once as there are cores; JOBS=0 runs one after the other, in order, quick layers first.
JOBS ?= auto
SIDE_BY_SIDE = -n $(JOBS) --maxprocesses 8 --dist worksteal
ARGS ?=
PYTEST_ARGS ?=
# Some containers set it: each command would then compile the whole of the harness before it does anything.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test unit bench soak controls checks clean help

help:
	@echo 'make run     set up, build the newest kernel, boot it small, judge it (ARGS="--ram 128M …")'
	@echo 'make test    set up, run all tests: unit, functional (a tiny kernel), kernel (a real one)'
	@echo 'make unit    only the tests that need no kernel'
	@echo 'make bench   measure'
	@echo 'make soak    attack the store, the streams and running commands for hours (ARGS="--kills 1000 …")'
	@echo 'make controls  put every deliberate bug into TTM and see which the pressure suite notices'
	@echo 'make checks  break each check of the pressure suite and see it turn its case red; list those nobody evaluates'
	@echo 'make clean   remove the virtual environment; the store stays'

run:
	@.ci/setup
	@$(HARNESS) run $(ARGS)

test:
	@.ci/setup test
	@$(PYTEST) $(SIDE_BY_SIDE) $(PYTEST_ARGS)

unit:
	@.ci/setup test
	@$(PYTEST) tests/unit $(SIDE_BY_SIDE) $(PYTEST_ARGS)

bench:
	@.ci/setup test
	@$(PYTEST) $(wildcard tests/bench/bench_*.py) -m bench -s $(PYTEST_ARGS)

soak:
	@.ci/setup test
	@.venv/bin/python -m tests.attack $(ARGS)

controls:
	@.ci/setup
	@$(HARNESS) controls $(ARGS)

# The table is in pressure/checks.txt, the checks in pressure/sites.txt of the run's results.
checks:
	@.ci/setup test
	@$(HARNESS) run --suite pressure-checks $(ARGS)
	@.venv/bin/python -m tests.kernel.check_sites "$$(ls -dt "$${TTM_HARNESS_STORE:-$$HOME/.cache/ttm-harness}"/runs/* | head -n 1)"

clean:
	rm -rf .venv build *.egg-info
