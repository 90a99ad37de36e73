# The two commands that a newcomer needs are `make demo` and `make test`; each makes what it needs first.
PYTHON ?= python3
VENV := .venv/bin
# Where the machine says that Python shall not keep what it compiles, each of a network's processes would compile 600 modules anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test check bench coverage mutants contract-mutants gas format lock clean

help:
	@echo "make demo                  the whole trade on synthetic health data, on this machine"
	@echo "make demo DATA=path        the same with a file or folder of yours"
	@echo "make test                  all tests at quick depth (at most 15 minutes on 2 cores)"
	@echo "make test ROOM=tests/unit/sealing DEPTH=deep    one room, with the large counts"
	@echo "make check                 style, types, layers, frozen formats, true docs (under a minute)"
	@echo "make bench                 speed beside the peers, as ratios (make bench ROOM=seal_speed for one)"
	@echo "make mutants ROOM=src/asset_bridge/sealing     does a test fail for each changed operator?"
	@echo "make coverage              branch coverage of sealing, re-encryption, ipld and keys; fails below 100 %"
	@echo "make contract-mutants      the same for the contracts"
	@echo "make gas                   what each call of the contracts costs, compared with the stored figures"
	@echo "make setup                 only .venv and the development chain"
	@echo "make format                lay out the Python files"
	@echo "make lock                  write requirements.lock anew (UPGRADE=1 for newer versions)"

setup:
	@$(PYTHON) tools/setup.py

demo: setup
	@$(VENV)/asset-bridge demo $(if $(DATA),--data "$(DATA)")

test: setup
	@DEPTH="$(or $(DEPTH),quick)" $(VENV)/python tools/test.py $(ROOM)

check: setup
	@$(VENV)/python tools/check.py

bench: setup
	@PATH="$(CURDIR)/$(VENV):$$PATH" $(VENV)/python benchmarks/run.py $(ROOM)

mutants: setup
	@$(VENV)/python tools/mutants.py $(ROOM)

coverage: setup
	@$(VENV)/python tools/branch_coverage.py $(ROOM)

contract-mutants: setup
	@$(VENV)/python tools/contract_mutants.py

gas: setup
	@$(VENV)/python benchmarks/gas.py $(if $(ACCEPT),--accept)

format: setup
	@$(VENV)/ruff format . && $(VENV)/ruff check --fix .

lock: setup
	@$(VENV)/python tools/lock.py $(if $(UPGRADE),--upgrade)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
