# Everything from a bare clone. `make run` and `make test` are all most people need;
# both may be run again at any time, and then do only what changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Reads the page's JavaScript; npm fetches it once.
BIOME := @biomejs/biome@2.6.8

.DEFAULT_GOAL := help
.PHONY: help run test check bench clean

help:
	@echo 'make run     a running node with its own MongoDB; data in ./data'
	@echo 'make test    everything the tests need, then make check, then all tests'
	@echo 'make check   ruff, mypy, import-linter, hadolint: fast enough for every commit'
	@echo 'make bench   measures a fresh node beside Orthanc: docs/performance.md'
	@echo 'make clean   removes the virtual environment and caches; never the data'

run: $(VENV)/.ready-to-run
	@sh scripts/setup-debian.sh run
	@exec $(BIN)/hilum serve

test: $(VENV)/.ready-to-test
	@sh scripts/setup-debian.sh test
	@$(MAKE) --no-print-directory check
	npx --yes $(BIOME) lint --error-on-warnings
	@# The slow ones, of whole nodes, first; they wait more than they work, so one more than cores.
	$(BIN)/python -m pytest --numprocesses $$(( $$(nproc) + 1 )) --dist loadfile \
	  --no-loadscope-reorder $(PYTEST_ARGS)

check: $(VENV)/.ready-to-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

bench: $(VENV)/.ready-to-test
	@sh scripts/setup-debian.sh bench
	$(BIN)/python -m scripts.bench $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# The marks are newer than pyproject.toml when what it asks for is installed.
$(VENV)/.ready-to-run: pyproject.toml scripts/setup-venv.sh
	@sh scripts/setup-venv.sh $(PYTHON) $(VENV) embedded
	@touch $@

$(VENV)/.ready-to-test: pyproject.toml scripts/setup-venv.sh
	@sh scripts/setup-venv.sh $(PYTHON) $(VENV) embedded,dev
	@touch $(VENV)/.ready-to-run $@
