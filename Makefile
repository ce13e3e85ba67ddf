# make demo: installs, renders the demo set, trains and evaluates on it, and labels its test clips.
# make test: runs lint, then all tests.
# make lint: checks style, types and the layers of the packages.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/python mtclar.py --name quickstart --train.resume latest
	$(BIN)/python fsl_mtclar.py --name quickstart --support_set.min_frames 24

test: .venv/installed-dev lint
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3") if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -r requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt requirements-annotate.txt .venv/installed
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@

clean:
	rm -rf .venv data/demo data/demo_sl data/cache
