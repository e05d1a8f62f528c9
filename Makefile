# make test   lint, types and every test        make demo   the quickest bench table
# make quick  the tests that are not slow       make clean  forget the environment
# make lint   lint, format and types alone      make soak   every test, ROUNDS times, fresh seeds
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.DEFAULT_GOAL := test
.PHONY: test quick soak lint demo clean

# Neighbouring tests share a worker until one has nothing left, so that both end together.
PYTEST := -n 2 --dist worksteal
ROUNDS ?= 10

define CHECK_PYTHON
import os, sys, sysconfig
if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed, not %d.%d: set PYTHON=python3.11" % sys.version_info[:2])
try:
    import ensurepip, venv
except ImportError:
    sys.exit("Python has no venv: apt-get install python3-venv")
get = sysconfig.get_config_var
folders = [get("LIBDIR") or "", get("LIBPL") or "", os.path.join(get("LIBDIR") or "", get("MULTIARCH") or "")]
names = [name for name in (get("LDLIBRARY"), get("INSTSONAME")) if name and ".so" in name]
if not any(os.path.exists(os.path.join(folder, name)) for folder in folders for name in names):
    sys.exit("Python has no shared libpython, which cocotb embeds: apt-get install libpython3-dev")
endef
export CHECK_PYTHON

$(READY): pyproject.toml
	@for tool in g++ perl git; do \
	  command -v $$tool >/dev/null || { echo "$$tool is missing: apt-get install $$tool" >&2; exit 1; }; \
	done
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c "$$CHECK_PYTHON"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,pnr]'
	@touch $@

test: lint
	$(BIN)/python -m pytest $(PYTEST) --durations=20

quick: $(READY)
	$(BIN)/python -m pytest $(PYTEST) -m 'not slow'

soak: $(READY)
	$(BIN)/python -m tests.soak --rounds $(ROUNDS) $(PYTEST) -q

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

demo: $(READY)
	$(BIN)/sparsefuse bench demo

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache
	find $(wildcard rtl_gen golden sim flows constraints tests) -name __pycache__ -prune -exec rm -rf {} +
