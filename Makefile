# Every target installs what LOCK lists into VENV. PYTHON is Python 3.11 or newer. UV may be an installed uv.
PYTHON ?= python3
VENV ?= .venv
LOCK ?= requirements.lock
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV ?= $(BIN)/uv
SECONDS ?= 60
TIMES ?= 50
MINUTES ?= 60
LIMIT ?= 20

.PHONY: demo paper test test-all test-integration test-faults coverage lowest fuzz audit lint types docs wheel lock clean

demo: $(READY)  ## train on synthetic scenes; evaluate the result and the bundled model: tables and reports
	$(BIN)/python train.py experiment=demo name=demo
	$(BIN)/python evaluate.py restorer=bundled_fidelity data.train=1 data.val=1 name=bundled
	@echo "before and after: runs/demo/report.html; bundled model: runs/evaluations/bundled/report.html"

# 16 trainings of MINUTES minutes of one core each and an evaluation with LIMIT images: about eight hours on two cores,
# two with MINUTES=15. An interrupted one resumes.
paper: $(READY)  ## train and compare the methods of docs/results.md at small size; write the page
	$(BIN)/python train.py -m +sweep=methods_small minutes=$(MINUTES)
	$(BIN)/python train.py -m +sweep=paper_small minutes=$(MINUTES)
	$(BIN)/python evaluate.py -m +sweep=table1_small limit=$(LIMIT)
	$(BIN)/python benchmarks/results.py collect runs/paper_small
	$(BIN)/python benchmarks/results.py write
	$(BIN)/deblurlab report sweep runs/paper_small/losses --baseline loss=l1
	$(BIN)/deblurlab report table runs/paper_small/table1/*/

test: $(READY)  ## quick tests
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not integration"

test-all: test  ## all tests, including those that take minutes
	$(BIN)/python -m pytest -n auto --dist worksteal -m slow

test-integration: $(READY)  ## tests with SLURM (as root; Debian packages slurm-wlm, munge), Chromium and Ray, where installed
	$(BIN)/python -m pytest -m integration tests/integration

test-faults: $(READY)  ## tests that kill trainings TIMES times and inject other faults; as root also a full disk
	$(BIN)/python tests/faults --times $(TIMES)

coverage: $(READY)  ## quick tests with a table of the lines that they cover, in processes that they start too
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow and not integration" \
		--cov --cov-report term:skip-covered

lowest: $(UV)  ## quick tests with Python 3.11 and the lowest versions that pyproject.toml allows
	@mkdir -p build
	$(UV) pip compile pyproject.toml --quiet --all-extras --group dev --upgrade --python-version 3.11 \
		--resolution lowest-direct --generate-hashes --no-header --output-file build/lowest.lock
	$(MAKE) test VENV=build/lowest LOCK=build/lowest.lock

audit: $(READY)  ## known vulnerabilities of the locked packages
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements.lock

fuzz: $(READY)  ## fuzz the file readers, each for SECONDS; findings are kept in build/fuzz
	for kind in release frames images; do \
		mkdir -p build/fuzz/$$kind; \
		$(BIN)/python tests/fuzz/fuzz_$$kind.py -max_total_time=$(SECONDS) -max_len=4096 -timeout=20 -print_final_stats=1 \
			-dict=tests/fuzz/words.dict -artifact_prefix=build/fuzz/$$kind- build/fuzz/$$kind tests/fuzz/corpus/$$kind || exit 1; \
	done

lint: $(READY)  ## code style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## static types
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

docs: $(READY)  ## build the documentation site in build/site; a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

wheel: $(READY)  ## build dist/*.whl
	rm -rf dist
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

lock: $(UV)  ## lock the versions for development and CI; `UPGRADE=--upgrade` updates them
	$(UV) pip compile pyproject.toml --quiet --all-extras --group dev --group docs --universal --python-version 3.11 \
		--generate-hashes --no-header $(UPGRADE) --output-file requirements.lock

clean:  ## remove everything that can be rebuilt
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache $(VENV)

# The marker file is written last, so an interrupted installation is repeated.
$(BIN)/uv: $(READY)
$(READY): $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
