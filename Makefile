# The commands of the book. Each creates the environment it needs; see README.md.
# What makes the environment. Unless it is named (make test PYTHON=python3.12), an environment that is there is kept.
NAMED := $(PYTHON)
PYTHON ?= python3
BIN := .venv/bin
NOTEBOOKS := $(sort $(wildcard chapters/*.ipynb))
CONSTRAINTS ?= constraints.txt
# Nothing that tests or builds may depend on the data, the network or the active environment of the machine it runs on.
HERMETIC := env -u GENCAPS_DATA -u VIRTUAL_ENV OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
# On two cores two processes with a thread each do more than one with two.
WORKERS ?= 2

# pip compiles with one process, and packages' own tests, too. What fails to compile (a template) is not imported.
COMPILE := $(BIN)/python -W ignore -m compileall -qq -j 0 -x '/tests/' .venv/lib || true

.PHONY: anew book browser links weights test lint unit smoke smoke-times chapters picture study bench clean

# The version of a Python; nothing, if it is not there or too old.
VERSION = $(shell $(1) -c 'import sys; v = sys.version_info; print("%d.%d" % v[:2] if v >= (3, 11) else "")' 2> /dev/null)
# That of the environment; nothing, where it is to be made (anew), as when another Python is named than it has.
HAS := $(call VERSION,$(BIN)/python)
ifneq ($(NAMED),)
HAS := $(filter $(call VERSION,$(PYTHON)),$(HAS))
endif

.venv/ready: requirements.txt requirements-dev.txt requirements-ray.txt constraints.txt pyproject.toml $(if $(HAS),,anew)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint $(CONSTRAINTS) --editable '.[dev]'
	$(COMPILE)
	touch $@

anew:
	$(if $(call VERSION,$(PYTHON)),,$(error The book needs Python 3.11 or newer, and $(PYTHON) is \
		$(or $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null),not there). \
		Name another, as in: make $(MAKECMDGOALS) PYTHON=python3.12))
	$(PYTHON) -m venv --clear .venv

# What tests open pages in, and what these load: found, or fetched (tools/find_browser.py).
browser: .venv/ready
	@$(BIN)/python tools/find_browser.py

# Build the book from the stored outputs, to _build/html; a warning is an error.
book: .venv/ready
	$(BIN)/jupyter-book build --all --warningiserror --nitpick --keep-going --quiet .
	@echo "The book is at _build/html/index.html"

# Does every link to elsewhere still lead there? It needs a network; links within the book are a test's matter.
links: .venv/ready
	$(BIN)/jupyter-book build --all --builder linkcheck --keep-going --quiet .

# What each page of the built book weighs.
weights: book
	@$(BIN)/python tools/weights.py _build/html

test: lint unit smoke

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/mypy

unit: .venv/ready browser
	$(HERMETIC) $(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile $(UNIT_ARGS) tests

# Every chapter, executed on the embedded digits.
smoke: .venv/ready
	$(HERMETIC) GENCAPS_PROFILE=smoke TQDM_DISABLE=1 $(BIN)/pytest --numprocesses=$(WORKERS) --nbmake --nbmake-timeout=120 \
		-o timeout=0 -o filterwarnings=default --durations=0 $(SMOKE_ARGS) $(NOTEBOOKS)

# The same, and keep how long each chapter took, for the page of execution statistics.
smoke-times: SMOKE_ARGS := --junitxml=_build/smoke.xml
smoke-times: smoke
	$(BIN)/python tools/smoke_times.py _build/smoke.xml

# Execute chapters on MNIST at the quick profile, store their outputs and stamp them (… NOTEBOOKS=chapters/01*.ipynb).
# They run in their own folder, so a path is made absolute; it may have spaces.
chapters: export override GENCAPS_DATA := $(if $(GENCAPS_DATA),$(if $(filter /%,$(firstword $(GENCAPS_DATA))),,$(CURDIR)/)$(GENCAPS_DATA))
chapters: .venv/ready
	$(BIN)/python -c "from gencaps_lib.data import load_digits; load_digits('train', 'mnist')"
	GENCAPS_PROFILE=quick GENCAPS_STATIC=1 TQDM_DISABLE=1 $(BIN)/python tools/execute.py $(NOTEBOOKS)

# README's picture, from the published runs.
picture: .venv/ready
	$(BIN)/python tools/readme_picture.py

# All runs that are missing (make study ARGS='--profile full --minutes 25'); see CONTRIBUTING.md.
study: .venv/ready
	$(BIN)/python -m gencaps_lib study $(ARGS)

# What a training step costs here, and what each change bought (make bench ARGS='--profile full --out here.json').
bench: .venv/ready
	$(BIN)/python -m gencaps_lib bench $(ARGS)

clean:
	rm -rf .venv _build tests/browser/node_modules
