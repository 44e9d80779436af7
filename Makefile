# One way in for people and for CI. `make help` lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The environment's own pip, or where Python could give it none, the system's.
PIP = $$(cat $(VENV)/python.stamp) install --disable-pip-version-check --no-deps

# uv installs from the same locks in seconds what takes pip minutes, from pip's index. It knows the rest of pip's
# configuration as little as pip's ways to log in: where uv fails, pip does the work, and its message is what counts.
define install
@$(BIN)/python -c 'import uv' 2>/dev/null || $(PIP) -q --require-hashes -r requirements/uv.txt 2>/dev/null || true
@index=$${PIP_INDEX_URL:-$$($$(cat $(VENV)/python.stamp) config get global.index-url 2>/dev/null)}; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	$(BIN)/python -m uv pip install -q --python $(BIN)/python --no-deps $(1) 2>/dev/null || \
	{ echo "Installing by pip, which takes some minutes: uv could not do it" >&2; $(PIP) -q $(1); }
endef

# Groups of tests, the longest first: see tests/groups.py.
SIDE_BY_SIDE := -n 2 --dist loadgroup --no-loadscope-reorder

# Without compiled bytecode every start of MLflow takes five seconds longer.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run stack airflow doctor test test-fast test-times check fuzz format bench-pipeline bench-quality bench-choices bench-api bench-airflow lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# `exec`, so that the command's parent is make itself and not a shell in between.
run: $(VENV)/run.stamp ## start everything; train first if no model is in production
	@exec $(BIN)/readmission run --end-with-parent $$PPID

stack: $(VENV)/run.stamp ## start PostgreSQL, S3 and MLflow only
	@exec $(BIN)/readmission stack --end-with-parent $$PPID

airflow: $(VENV)/airflow.stamp ## start Apache Airflow with the DAGs, and what it needs
	@exec $(BIN)/readmission airflow --end-with-parent $$PPID

doctor: $(VENV)/run.stamp ## say what is running, what is missing, what to do
	@$(BIN)/readmission doctor

test: $(VENV)/dev.stamp check ## check and test everything (twenty minutes)
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-fast: $(VENV)/dev.stamp ## the tests that need no server and take less than a second each
	@$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not server and not slow and not alone"

test-times: ## make the times of the last `make test` the table that the next ones are compared with
	@$(BIN)/python tests/timing.py

check: $(VENV)/dev.stamp ## style, types, and which module may import which
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check --no-cache .
	@$(BIN)/mypy -n 2
	@$(BIN)/lint-imports --no-cache

fuzz: $(VENV)/dev.stamp ## ask the API ten thousand generated questions (minutes)
	@FUZZ_EXAMPLES=1000 $(BIN)/python -m pytest -rP --timeout=3600 tests/serving/http/test_generated_requests.py

format: $(VENV)/dev.stamp ## rewrite the source in house style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench-pipeline: $(VENV)/run.stamp ## measure the pipeline against bare fits (an hour and a half)
	@$(BIN)/python -m benchmarks.pipeline

bench-quality: $(VENV)/run.stamp ## measure the models against the requested recipe (a quarter of an hour)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quality

bench-choices: $(VENV)/run.stamp ## show what the boosted trees were chosen by, on training rows alone (a quarter of an hour)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.choices

bench-api: $(VENV)/run.stamp ## measure the API against a no-op and other servers (a quarter of an hour)
	@$(BIN)/python -m benchmarks.api

bench-airflow: $(VENV)/airflow.stamp ## measure the master DAG against the command line (ten minutes)
	@$(BIN)/python -m benchmarks.airflow

lock: $(VENV)/dev.stamp ## renew the hash-pinned requirements
	@$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements/uv.in -o requirements/uv.txt
	@$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements/run.in -o requirements/run.txt
	@$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements/airflow.in -o requirements/airflow.txt
	@$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements/dev.in -o requirements/dev.txt
	@for name in bench-bentoml bench-mlserver; do \
		$(BIN)/python -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header requirements/$$name.in -o requirements/$$name.txt; done

clean: ## remove all local state: data, databases, models, credentials
	@home="$${READMISSION_HOME:-.readmission}"; \
	if [ ! -e "$$home" ]; then exit 0; fi; \
	if [ ! -e "$$home/credentials.json" ] && [ ! -e "$$home/stack.lock" ]; then \
		echo "$$home does not look like a state folder, so it stays: check READMISSION_HOME, or remove it yourself" >&2; \
		exit 2; fi; \
	if [ -e "$$home/stack.lock" ] && ! flock -n "$$home/stack.lock" true; then \
		echo "The stack is running: stop it with Ctrl-C where it was started, then try again" >&2; exit 3; fi; \
	rm -rf -- "$$home"

# Written last: an environment without it was cut short and is made anew, unless run.stamp says that it was finished.
$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.12 ..." >&2; exit 2; }
	@if [ -e $(VENV)/run.stamp ]; then \
		echo "$(BIN)/python -m pip" >$@; \
	elif $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
		$(PYTHON) -m venv --clear $(VENV) && echo "$(BIN)/python -m pip" >$@; \
	elif $(PYTHON) -m pip --python $(PYTHON) --version >/dev/null 2>&1; then \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && echo "$(PYTHON) -m pip --python $(BIN)/python" >$@; \
	else \
		echo "$(PYTHON) cannot make environments: install the package python3-venv, or pip 22.3 or newer" >&2; exit 2; \
	fi

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(VENV)/python.stamp
	@echo "Building the environment in $(VENV) (a minute, once) ..."
	$(call install,--require-hashes -r requirements/run.txt)
	$(call install,--no-build-isolation -e .)
	@touch $@

$(VENV)/airflow.stamp: requirements/airflow.txt $(VENV)/run.stamp
	@echo "Adding Apache Airflow to $(VENV) (once) ..."
	$(call install,--require-hashes -r requirements/airflow.txt)
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/airflow.stamp
	$(call install,--require-hashes -r requirements/dev.txt)
	@touch $@
