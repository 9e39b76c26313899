# `make demo` and `make test` do all the set-up by themselves. PYTHON is any Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SECONDS ?= 60
TIMES ?= 50

.PHONY: demo test test-all test-integration test-faults fuzz audit lint types wheel lock clean

demo: $(READY)  ## train on made scenes, restore photographs with that and with the bundled model: tables, reports
	$(BIN)/python train.py experiment=demo name=demo
	$(BIN)/python evaluate.py restorer=bundled_fidelity data.train=1 data.val=1 name=bundled
	@echo "before and after: runs/demo/report.html, and of the model that comes along: runs/evaluations/bundled/report.html"

test: $(READY)  ## what is quick
	$(BIN)/python -m pytest -n auto -m "not slow and not integration"

test-all: test  ## what takes minutes too
	$(BIN)/python -m pytest -n auto -m slow

test-integration: $(READY)  ## a real SLURM (as root, Debian's slurm-wlm and munge), Chromium, Ray; skips what isn't there
	$(BIN)/python -m pytest -m integration tests/integration

test-faults: $(READY)  ## trainings that are killed TIMES times and harmed in other ways; as root a full disk too
	$(BIN)/python tests/faults --times $(TIMES)

audit: $(READY)  ## known vulnerabilities of what is locked
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements.lock

fuzz: $(READY)  ## damaged and hostile files, each kind for SECONDS; what is interesting is left in build/fuzz
	for kind in release frames; do \
		mkdir -p build/fuzz/$$kind; \
		$(BIN)/python tests/fuzz/fuzz_$$kind.py -max_total_time=$(SECONDS) -max_len=4096 -timeout=20 -print_final_stats=1 \
			-dict=tests/fuzz/words.dict -artifact_prefix=build/fuzz/$$kind- build/fuzz/$$kind tests/fuzz/corpus/$$kind || exit 1; \
	done

lint: $(READY)  ## style, formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## types
	$(BIN)/mypy

wheel: $(READY)  ## dist/*.whl
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

lock: $(READY)  ## exact versions for development and CI; `UPGRADE=--upgrade` renews them
	$(BIN)/uv pip compile pyproject.toml --quiet --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header $(UPGRADE) --output-file requirements.lock

clean:  ## what can be made again
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache $(VENV)

# The mark is written last, so an installation that was interrupted is taken up again.
$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
