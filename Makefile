# `make study` measures and makes the page; `make test` tests. Both set themselves up.
PROFILE ?= quick
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
HEAVYWEIGHT := $(BIN)/heavyweight

.DEFAULT_GOAL := help
.PHONY: help study experiments test check lint audit licences bench coverage analysis lab lock clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'
	@echo "  PROFILE is one of the README's table, now: $(PROFILE)"

# Hashes are checked; uv where there is one, pip otherwise.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "found: $$($(PYTHON) --version 2>&1). Expected: Python 3.11 or later." \
	       "Remedy: make PYTHON=/path/to/python3.11 ..." >&2; exit 2; }
	@echo "making .venv from requirements.lock ..." >&2
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" .venv && \
	  uv pip sync --quiet --require-hashes --python $(BIN)/python requirements.lock; \
	else \
	  $(PYTHON) -m venv .venv && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    -r requirements.lock; \
	fi
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

study: $(READY) ## measure (PROFILE=quick), then make the page
	@$(HEAVYWEIGHT) study run --profile $(PROFILE) --page

EXPERIMENTS = $$($(BIN)/python -c 'from heavyweight.kinds import EXPERIMENTS as e; print(*list(e)[1:])')

experiments: $(READY) ## measure the six experiments, then make their pages (GPU=gpu- on a GPU)
	@for name in $(EXPERIMENTS); do \
	  $(HEAVYWEIGHT) study run --profile $(GPU)$$name --page || exit; \
	done

# Tests that time something have the machine for themselves; the others share it.
TIMED := $(addprefix tests/,instrument loadtest test_benchmarks.py test_contributing.py \
  $(addprefix emulator/test_,emulator.py http.py timing.py) \
  $(addprefix load/test_,client.py closed.py open.py pacing.py process.py spec.py) \
  $(addprefix servers/test_,base.py ports.py process.py) \
  $(addprefix telemetry/test_,processes.py recorder.py snapshot.py) \
  $(addprefix experiments/test_,mechanisms.py openloop.py parallel.py streams.py))
TESTS := $(BIN)/python -m pytest
# Studies in tests wait for their servers: one worker more for two cores leaves no core idle.
WORKERS := $(shell echo $$(($$(nproc) * 3 / 2)))

test: $(READY) ## unit tests, notebooks, pages
	@$(TESTS) -n $(WORKERS) --dist loadfile --no-loadscope-reorder --nbval --nbval-current-env \
	  $(addprefix --ignore=,$(TIMED)) tests analysis
	@$(TESTS) $(TIMED)

# tests/test_project.py: import contracts, dead code, notebooks without outputs, generated documents,
# environments and lock that agree. ruff reads notebooks, too.
check: lint ## formatting, lint, types, contracts, dead code, generated files, licences
	@$(TESTS) -q --no-header -p no:cacheprovider tests/test_project.py

lint: $(READY) ## formatting, lint, types, licences: what of `make check` is in no test
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && \
	  $(BIN)/python .ci/licences.py --check

AUDIT := .venv/audit/bin/python
audit: $(READY) ## known vulnerabilities of all locked packages (asks the package index)
	@[ -x $(AUDIT) ] || $(BIN)/uv venv --quiet --python $(BIN)/python .venv/audit
	@$(BIN)/uv pip sync --quiet --require-hashes --python $(AUDIT) .ci/audit.lock
	@$(AUDIT) .ci/audit.py requirements.lock .ci/audit.lock heavyweight/servers/vllm-*.txt \
	  benchmarks/*.txt

licences: $(READY) ## LICENSES.md anew, from the installed packages
	@$(BIN)/python .ci/licences.py

bench: $(READY) ## the load generator beside others, on the same emulated server
	@$(BIN)/python -m benchmarks

coverage: $(READY) ## how often each interval holds the truth, on simulated studies
	@$(BIN)/python -m benchmarks.statistics

analysis: $(READY) ## execute analysis/ over data/reference anew, and the README's numbers
	@for path in analysis/*.ipynb; do \
	  run=$$(grep -o 'data/reference[a-z-]*' $$path | head -n 1); \
	  [ -e $$run/run.json ] || { echo "$$path: $$run is not measured yet" >&2; continue; }; \
	  $(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level WARN \
	    --ExecutePreprocessor.record_timing=False $$path || exit; \
	done
	@$(HEAVYWEIGHT) readme

lab: $(READY) ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab --ip 127.0.0.1 $$([ "$$(id -u)" = 0 ] && echo --allow-root) \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate notebooks/session.ipynb

LOCKED := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-header --no-emit-index-url
# GuideLLM needs jinja2 and does not ask for it; its torch is vLLM's, which is in the cache already.
lock: $(READY) ## resolve requirements.lock, and those of make audit and make bench, anew
	@$(LOCKED) --extra test pyproject.toml -o requirements.lock
	@echo 'pip-audit==2.10.1' | $(LOCKED) - -o .ci/audit.lock
	@echo 'aiperf==0.13.0' | $(LOCKED) - -o benchmarks/aiperf-0.13.0.txt
	@printf '%s\n' 'guidellm==0.8.1' jinja2 'torch==2.11.0' | \
	  $(LOCKED) - -o benchmarks/guidellm-0.8.1.txt

clean: ## remove what was made here; measured data stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
