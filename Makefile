PYTHON ?= $(shell for python in python3.11 python3; do $$python -c '' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed

BENCH := .venv-bench

.PHONY: run test lint types docs bench

run: $(INSTALLED)
	$(BIN)/jepakit run recipes/cartpole_pixels.yaml

test: $(INSTALLED)
	$(BIN)/pytest -n auto --dist worksteal $(PYTEST_ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python -m docs.site
	$(BIN)/zensical build --strict

bench: $(BENCH)/.installed
	$(BENCH)/bin/python -m benchmarks.performance $(BENCH_ARGS)

# --no-deps: the lock file names everything, and no GPU package comes with torch. `pip check` then says whether anything is missing.
$(BENCH)/.installed: pyproject.toml benchmarks/peers/requirements.lock
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --no-deps -r benchmarks/peers/requirements.lock
	$(BENCH)/bin/python -m pip install --no-deps -e .
	$(BENCH)/bin/python -m pip check
	touch $@

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	touch $@
