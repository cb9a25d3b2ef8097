# Each target sets up its own environment in $(VENV); nothing has to be installed beforehand but Python 3.11.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
RUN = $(VENV)/bin/python
PYTEST = OMP_NUM_THREADS=1 $(RUN) -m pytest -q -n 2 --dist worksteal
STAMP = $(VENV)/.installed
CORE = $(VENV)/.installed_core

.PHONY: quickstart test lint long reliability docs clean

# Needs the package alone. A full environment serves as well.
quickstart: $(or $(wildcard $(STAMP)),$(CORE))
	$(RUN) tools/quickstart.py

test: lint
	$(PYTEST) -m "not long"

# What takes minutes: real data, full configs.
long: $(STAMP)
	$(PYTEST) -m long

# Kills, hostile input and a soak, for about four hours; it goes on where it was stopped. Numbers and
# tables come to build/reliability. Smaller: make reliability KILLS=20 CASES=500 SOAK=1
KILLS ?= 200
CASES ?= 10000
SOAK ?= 30
reliability: $(STAMP)
	OMP_NUM_THREADS=1 $(RUN) -W ignore tests/reliability/run.py --kills $(KILLS) --cases $(CASES) \
		--minutes $(SOAK) --out build/reliability

# The documentation site, in build/site; a broken link is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

# Without --no-compile pip would compile every module of every package, which takes longer than all
# the rest. Python compiles those that are imported, once.
$(CORE): setup.py $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q --no-compile -c requirements/constraints.txt -e .
	touch $@

$(STAMP): setup.py $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install -q -c requirements/constraints.txt -e '.[tests,extract,export,docs,pose,rgb]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
