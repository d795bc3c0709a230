# Two commands: make train and make test. Each makes .venv, installs what it needs, and runs; python3 and make are enough.

VENV := .venv
BIN := $(VENV)/bin
NEW_ENOUGH := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))
# The first Python that is new enough; another one:  make train PYTHON=/path/to/python
PYTHON ?= $(shell for p in python3 python python3.13 python3.12 python3.11 python3.10; do \
	$$p -c '$(NEW_ENOUGH)' 2> /dev/null && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help train test check docs format clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

train: $(VENV)/agents.done ## find the bit-widths of ResNet20; options: ARGS="--budget 0.05 --seed 1"
	$(BIN)/python agents/train_adrl.py --resume $(ARGS)

test: check ## lint, types and every test; options of pytest: ARGS="-k budget"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ARGS)

check: $(VENV)/test.done ## lint, format and types alone
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/docs.done ## build the site into docs/_build/html; warnings are errors
	$(BIN)/python -m sphinx -n -W --keep-going docs docs/_build/html

format: $(VENV)/test.done ## mend what lint and format can mend by themselves
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove .venv and caches; results in runs/ stay
	rm -rf $(VENV) .ci/data build dist docs/_build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

# One stamp for each extra of pyproject.toml: nothing is installed again until that file changes.
$(VENV)/%.done: pyproject.toml | $(BIN)/pip
	@echo "Installing adrl-gym[$*] into $(VENV): a few minutes the first time, most of it PyTorch"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

$(BIN)/pip:
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(NEW_ENOUGH)' || { \
		echo "adrl-gym needs Python 3.10 or newer with venv and pip (on Debian and Ubuntu: apt install python3-venv)."; \
		echo "If there is one elsewhere, name it: make PYTHON=/path/to/python"; exit 1; } >&2
	"$(PYTHON)" -m venv --clear $(VENV)
