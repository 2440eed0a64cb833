# Everything here works on a bare Debian 12 or 13 with python3, python3-venv and make, without root.
#   make demo    a whole city on this machine: recorder, broker, command centre, agent
#   make test    the test suite          make long    what takes minutes to an hour
#   make bench   CPU and memory          make lint    style, types, layers
# Options go through: make demo ARGS="--cameras 8 --headless --for 40 --report r.json"

PYTHON ?= python3
ARGS ?=
# Of the tests. Half of a run is waiting: one more than there are cores is quicker.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --no-build-isolation
MADE := .make

.PHONY: demo test long bench lint clean lock

demo: $(MADE)/demo
	@$(BIN)/edge-agent demo $(ARGS)

test: $(MADE)/dev
	@$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

long: $(MADE)/dev
	@$(BIN)/python tests/long/run.py $(ARGS)

bench: $(MADE)/dev
	@$(BIN)/python -m bench $(ARGS)

lint: $(MADE)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A stamp per set of packages: remade when its lock file changes, never otherwise.
$(MADE)/demo $(MADE)/dev: $(MADE)/%: requirements/%.lock $(MADE)/venv
	@echo "Installing the $* packages into $(VENV) (once) ..."
	@$(PIP) --require-hashes -r $<
	@$(PIP) --no-deps --editable .
	@touch $@

$(MADE)/venv: requirements/build.lock pyproject.toml
	@PYTHON=$(PYTHON) sh tools/preflight.sh
	@$(PYTHON) -m venv $(VENV)
	@PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip install --quiet --require-hashes -r $<
	@mkdir -p $(MADE) && touch $@

# Resolve the lock files anew from pyproject.toml; needs uv.
lock: LOCK = uv pip compile --universal --generate-hashes --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --quiet --upgrade
lock:
	$(LOCK) requirements/build.in -o requirements/build.lock
	$(LOCK) pyproject.toml -o requirements/agent.lock
	$(LOCK) pyproject.toml --extra demo -o requirements/demo.lock
	$(LOCK) pyproject.toml --extra dev -o requirements/dev.lock

clean:
	rm -rf $(VENV) $(MADE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
