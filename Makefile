# Two commands for a newcomer: `make demo` and `make test`. Both set up what they need in .venv.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; raise SystemExit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
NEEDS_PYTHON := test -n "$(PYTHON)" || { \
	echo "Tubeflow needs Python 3.11, 3.12 or 3.13; install one, or say where: make PYTHON=/path/to/python3.12"; exit 1; }
BIN := .venv/bin

TOOLS := .venv-tools/bin
# Wheels whose bytes requirements/*.txt name, and no others: no package's own build script runs.
LOCKED := -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all:
# uv's own settings and those of this machine stay out of the files; every other pin stays as it is.
LOCK := $(TOOLS)/uv pip compile --quiet --no-config --universal --python-version 3.11 --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --generate-hashes

# What the image has beyond the core: its server works on Redis.
RUN_EXTRAS := --extra excel --extra redis --extra tensorboard

.PHONY: demo docs test test-slow test-browser lint setup lock sbom audit pin-images clean

demo: .venv/installed  ## the whole pipeline on the embedded procedural dataset
	$(BIN)/tubeflow demo

test: .venv/installed  ## fast tests, the style checks among them
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --durations=20

test-slow: .venv/installed  ## the long forms: fault injection, every preset, the GPU-free benchmarks' floors
	$(BIN)/python -m pytest -m slow

# The browser is the system's: apt-get install chromium, or TUBEFLOW_CHROMIUM=/path/to/chrome. None is downloaded.
test-browser: .venv/installed  ## pages in a real Chromium
	$(BIN)/python -m pytest -m browser

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: .venv/installed

.venv/installed: pyproject.toml requirements/dev.txt
	@$(NEEDS_PYTHON)
	$(PYTHON) -m venv .venv
	$(BIN)/python $(LOCKED) -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import cv2' || { echo "OpenCV needs two system libraries: apt-get install libgl1 libglib2.0-0"; exit 1; }
	@touch $@

lock: .venv-tools/installed  ## requirements/*.txt anew, after a change of pyproject.toml; `LOCK_OPTIONS=--upgrade` takes newer versions
	$(LOCK) $(LOCK_OPTIONS) pyproject.toml --all-extras --output-file requirements/dev.txt
	$(LOCK) $(LOCK_OPTIONS) pyproject.toml $(RUN_EXTRAS) --constraint requirements/dev.txt --output-file requirements/run.txt
	$(LOCK) $(LOCK_OPTIONS) requirements/tools.in --output-file requirements/tools.txt

sbom: .venv-tools/installed  ## build/sbom.cdx.json: what an installed Tubeflow is made of, CycloneDX
	@mkdir -p build
	$(TOOLS)/cyclonedx-py requirements requirements/run.txt --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-format JSON --output-file build/sbom.cdx.json

audit: .venv-tools/installed  ## known vulnerabilities of the pinned versions; asks a public database
	$(TOOLS)/pip-audit --require-hashes --disable-pip --requirement requirements/dev.txt

# Tools that look at the project from outside; apart, so that their dependencies bind none of ours.
.venv-tools/installed: requirements/tools.txt
	@$(NEEDS_PYTHON)
	$(PYTHON) -m venv .venv-tools
	$(TOOLS)/python $(LOCKED) -r requirements/tools.txt
	@touch $@

.env:  ## passwords for docker-compose.yml, drawn anew
	@umask 077 && awk '/=$$/ { if (("openssl rand -hex 24" | getline drawn) < 1) exit 1; close("openssl rand -hex 24"); \
		$$0 = $$0 drawn } 1' .env.example > $@.part && mv $@.part $@

# A tag may get another content tomorrow, a digest can't.
pin-images:  ## the images of other projects by digest, in Dockerfile and docker-compose.yml; asks their registry
	@for image in $$(sed -nE 's/^(FROM| +image:) ([^ @]+)$$/\2/p' Dockerfile docker-compose.yml | grep --invert-match '^tubeflow:'); do \
		digest=$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$$image") || exit 1; \
		sed -i "s|$$image\$$|$$image@$$digest|" Dockerfile docker-compose.yml; \
	done

docs: .venv/installed  ## the documentation as a site, build/site; a wrong link or anchor ends it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

clean:
	rm -rf .venv .venv-tools workspace
