# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need in .venv.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin

.PHONY: demo test test-slow test-browser lint setup clean

demo: .venv/installed  ## the whole pipeline on the embedded procedural dataset
	$(BIN)/tubeflow demo

test: .venv/installed  ## fast tests, the style checks among them
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile

test-slow: .venv/installed  ## the long forms: fault injection, every preset, the GPU-free benchmarks' floors
	$(BIN)/python -m pytest -m slow

# The browser is the system's: apt-get install chromium, or TUBEFLOW_CHROMIUM=/path/to/chrome. None is downloaded.
test-browser: .venv/installed  ## pages in a real Chromium
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,browser]'
	$(BIN)/python -m pytest -m browser

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Tubeflow needs Python 3.11, 3.12 or 3.13; install one, or say where: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@$(BIN)/python -c 'import cv2' || { echo "OpenCV needs two system libraries: apt-get install libgl1 libglib2.0-0"; exit 1; }
	@touch $@

clean:
	rm -rf .venv workspace
