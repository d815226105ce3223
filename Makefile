# The commands of the book. Each creates the environment it needs; see README.md.
PYTHON ?= python3
BIN := .venv/bin
NOTEBOOKS := $(sort $(wildcard chapters/*.ipynb))
CONSTRAINTS ?= constraints.txt
# Nothing that tests or builds may depend on the data or the network of the machine it runs on.
HERMETIC := env -u GENCAPS_DATA OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE
# On two cores two processes with a thread each do more than one with two.
WORKERS ?= 2

.PHONY: book links weights repository test lint unit smoke smoke-times chapters picture study bench clean

.venv/ready: requirements.txt requirements-dev.txt requirements-ray.txt constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

# What the tests' browser is answered with, in place of a content delivery network.
tests/browser/node_modules/ready: tests/browser/package.json tests/browser/package-lock.json
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --loglevel=error
	touch $@

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

# Give the book another address, in every file that names it (make repository URL=https://github.com/OWNER/NAME).
repository: .venv/ready
	@$(BIN)/python tools/repository.py "$(URL)"

test: lint unit smoke

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

unit: .venv/ready tests/browser/node_modules/ready
	$(HERMETIC) $(BIN)/pytest --numprocesses=$(WORKERS) --dist=loadfile tests

# Every chapter, executed on the embedded digits.
smoke: .venv/ready
	$(HERMETIC) GENCAPS_PROFILE=smoke TQDM_DISABLE=1 $(BIN)/pytest --numprocesses=$(WORKERS) --nbmake --nbmake-timeout=120 \
		-o timeout=0 -o filterwarnings=default --durations=0 $(SMOKE_ARGS) $(NOTEBOOKS)

# The same, and keep how long each chapter took, for the page of execution statistics.
smoke-times: SMOKE_ARGS := --junitxml=_build/smoke.xml
smoke-times: smoke
	$(BIN)/python tools/smoke_times.py _build/smoke.xml

# Execute chapters on MNIST at the quick profile, store their outputs and stamp them (… NOTEBOOKS=chapters/01*.ipynb).
chapters: export GENCAPS_DATA := $(abspath $(GENCAPS_DATA))
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
