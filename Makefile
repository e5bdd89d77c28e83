# `make` lists the commands. `make run` and `make test` set everything up by themselves.

PYTHON ?= python3
STAGE ?= dev
BIN := .venv/bin
RUN := .venv-run/bin/python
SAM := .venv-sam/bin/sam
LOCK := uv pip compile --quiet $(if $(UPGRADE),--upgrade) --universal --generate-hashes

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

# $(call venv,DIRECTORY): an empty environment with uv, which installs in seconds what takes pip a minute.
define venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make run PYTHON=python3.13")'
	@echo "Setting up $(1): some seconds and the downloads, this once"
	@$(PYTHON) -m venv --clear $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-uv.lock
endef

# A lock is complete, so nothing is to be resolved.
INSTALL = bin/uv pip install --quiet --no-deps --require-hashes --python

# For the commands that test nothing. From wheels alone: a new machine has no compiler.
.venv-run/.ready: requirements-run.lock requirements-uv.lock
	$(call venv,.venv-run)
	@.venv-run/$(INSTALL) $(RUN) --only-binary :all: -r $<
	@.venv-run/bin/uv pip uninstall --quiet --python $(RUN) pip setuptools uv
	@touch $@

.venv/.ready: requirements-dev.lock requirements-uv.lock
	$(call venv,.venv)
	@.venv/$(INSTALL) $(BIN)/python -r $<
	@touch $@

.venv-sam/.ready: requirements-sam.lock | .venv/.ready
	@echo "Setting up .venv-sam: a minute, this once"
	@$(PYTHON) -m venv .venv-sam
	@$(BIN)/uv pip install --quiet --python .venv-sam/bin/python --require-hashes -r requirements-sam.lock
	@touch $@

# A venv of its own, because checkov pins a boto3 of years ago.
.venv-checkov/.ready: requirements-checkov.lock | .venv/.ready
	@echo "Setting up .venv-checkov: a minute, this once"
	@$(PYTHON) -m venv .venv-checkov
	@$(BIN)/uv pip install --quiet --python .venv-checkov/bin/python --require-hashes -r requirements-checkov.lock
	@touch $@

# An emulator of AWS, which runs the functions in its own Python. The lock's boto3 is for them too.
.venv-ministack/.ready: requirements-ministack.lock | .venv/.ready
	@test -n "$(PYTHON313)" || { echo "ministack needs Python 3.13: put python3.13 on the PATH"; exit 1; }
	@echo "Setting up .venv-ministack: a minute, this once"
	@"$(PYTHON313)/bin/python3.13" -m venv .venv-ministack
	@$(BIN)/uv pip install --quiet --python .venv-ministack/bin/python --require-hashes -r requirements-ministack.lock
	@touch $@

JAVA_AND_MAVEN = command -v java >/dev/null && command -v mvn >/dev/null

.PHONY: java
java:
	@$(JAVA_AND_MAVEN) || { echo "DynamoDB Local and ElasticMQ need Java 17 or newer and Maven: put java and mvn on the PATH"; exit 1; }

.cache/%/.ready: tests/engines/%.xml | java
	@echo "Fetching $*: a moment, this once"
	@rm -rf $(@D)
	@mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory="$(CURDIR)/$(@D)"
	@touch $@

.PHONY: run
run: .venv-run/.ready ## Run the whole stack on this machine (PORT, AWS_PORT, RECEIVER_PORT, RETRY_SCHEDULE)
	@exec $(RUN) -m local.run

.PHONY: demo
demo: .venv-run/.ready ## See the whole product work, in under a minute
	@exec $(RUN) -m local.demo

.PHONY: api-key
api-key: .venv-run/.ready ## Make an API key: ACCOUNT=acme, SCOPES=read,write, STACK=name for a deployed stack, JSON=1
	@test -n "$(ACCOUNT)" || { echo "No account is given. Name the key's account: make api-key ACCOUNT=acme" >&2; exit 2; }
	@exec $(RUN) -m ops.api_key --account "$(ACCOUNT)" $(if $(NAME),--name "$(NAME)") $(if $(SCOPES),--scopes "$(SCOPES)") $(if $(STACK),--stack "$(STACK)") $(if $(JSON),--json)

.PHONY: ses-account
ses-account: .venv-run/.ready ## Assign SES mail to an account: SET=shop-mail or TENANT=shop, ACCOUNT=acme or REMOVE=1; without them a list; STACK=name, JSON=1
	@exec $(RUN) -m ops.ses_account $(if $(SET),--set "$(SET)") $(if $(TENANT),--tenant "$(TENANT)") $(if $(ACCOUNT),--account "$(ACCOUNT)") $(if $(REMOVE),--remove) $(if $(STACK),--stack "$(STACK)") $(if $(JSON),--json)

# By file and in the order of SUITES, whose last files are short, so that the processes end together.
# Without coverage, whose tracing nearly doubles the time.
IN_THREE = $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder
SUITES = tests/upgrade tests/faults tests/integration tests/unit

.PHONY: test
test: .venv/.ready ## Run the tests: ARGS="-k signature" for some of them
	@$(IN_THREE) $(ARGS) $(SUITES)

.PHONY: test-stack
test-stack: .venv/.ready ## Run the tests of the whole running stack: end to end, dashboard, conformance, short soak, fuzz
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(ARGS) \
	  tests/e2e tests/dashboard tests/conformance tests/soak tests/fuzz

.PHONY: test-slow
test-slow: .venv/.ready ## Run the tests of the running stack with a fifth of a core for each process (takes root on Linux)
	@$(BIN)/python tests/slow_cpu.py $(or $(ARGS),tests/e2e tests/dashboard tests/soak tests/integration/local/test_stack.py)

.PHONY: coverage
coverage: .venv/.ready ## Measure the tests' coverage, 90 % at least
	@$(IN_THREE) --cov --cov-report=term --cov-fail-under=90 $(SUITES)

BESIDE = $(BIN)/python tests/engines/run.py
STORES = tests/integration tests/soak
ON_SECOND_ENGINES = $(IN_THREE) -k "dynamodb-local or elasticmq" $(STORES)
# All rows of the fault matrix. The page's own test is left out: it uses no engine.
FAULTS = tests/faults --deselect tests/faults/test_matrix.py

.PHONY: test-dynamodb
test-dynamodb: .venv/.ready .cache/dynamodb-local/.ready ## Test the stores on AWS's own engine (needs Java and Maven)
	@$(BESIDE) dynamodb-local -- $(BIN)/python -m pytest -q -k dynamodb-local $(STORES) tests/faults/test_lost_answers.py

.PHONY: test-elasticmq
test-elasticmq: .venv/.ready .cache/elasticmq/.ready ## Test the queues' adapters on ElasticMQ (needs Java and Maven)
	@$(BESIDE) elasticmq -- $(BIN)/python -m pytest -q -k elasticmq tests/integration

# Both of the above, and the fault matrix without moto; the engines start only once.
.PHONY: test-engines
test-engines: .venv/.ready .cache/dynamodb-local/.ready .cache/elasticmq/.ready .venv-ministack/.ready ## Test stores, queues and every row of the fault matrix on second engines (needs Java, Maven and Python 3.13)
	@$(BESIDE) dynamodb-local elasticmq ministack -- sh -c '$(ON_SECOND_ENGINES) && $(IN_THREE) $(FAULTS)'

# Records the engines of each row of the fault matrix, in tests/data/engines.json and on the page.
.PHONY: engines
engines: .venv/.ready .cache/dynamodb-local/.ready .cache/elasticmq/.ready .venv-ministack/.ready ## Update the column of engines in docs/faults.md (needs Java, Maven and Python 3.13)
	@RECORD_ENGINES=1 $(IN_THREE) $(FAULTS)
	@RECORD_ENGINES=1 $(BESIDE) dynamodb-local elasticmq ministack -- $(IN_THREE) $(FAULTS)
	@PYTHONPATH=functions:layers/core:tests:. $(BIN)/python -m support.seen

# On AWS's own engine if it is available: moto slows down as its tables fill.
ENGINE := $(shell $(JAVA_AND_MAVEN) && echo .cache/dynamodb-local/.ready)

.PHONY: soak
soak: export PYTHONPATH = functions:layers/core:tests:.
soak: .venv/.ready $(ENGINE) ## Make receivers, dispatchers and AWS fail, and account for every delivery (EVENTS, SEED, JSON=1)
	@$(if $(ENGINE),$(BESIDE) dynamodb-local --) \
	  $(BIN)/python -m soak $(if $(EVENTS),--events $(EVENTS)) $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json)

.PHONY: fuzz
fuzz: .venv/.ready ## Compare the parsers and the bytes with Node.js: CASES=1000000, SEED=1
	@FUZZ_CASES="$(or $(CASES),100000)" FUZZ_SEED="$(or $(SEED),20251221)" \
	  $(BIN)/python -m pytest -q -s --timeout=0 tests/fuzz

.PHONY: conformance
conformance: .venv/.ready ## Test the running stack against its OpenAPI document, for a minute
	@$(BIN)/python -m pytest -q -s tests/conformance

.PHONY: check
check: test test-stack check-rest coverage test-engines e2e-ministack soak ## The gate of CI and the long tests, before a release

.PHONY: check-rest
check-rest: lint validate scan build sam-local frameworks gate-engines gate-ministack

.PHONY: frameworks
frameworks: .venv/.ready ## Test the guide's receivers in the frameworks of Node.js (needs Node.js and npm)
	@if command -v node >/dev/null && command -v npm >/dev/null; then $(BIN)/python -m pytest -q -rs tests/frameworks; \
	else echo "Skipped: the receivers in the frameworks of Node.js: Node.js or npm is missing (make frameworks)"; fi

# A command whose engine is not available here is skipped with a message. The fault matrix on these
# engines is a part of `make check`.
.PHONY: gate-engines
gate-engines:
	@if ! { $(JAVA_AND_MAVEN); }; then \
	  echo "Skipped: stores and queues on second engines: Java or Maven is missing (make test-engines)"; \
	elif ! $(MAKE) --no-print-directory .cache/dynamodb-local/.ready .cache/elasticmq/.ready; then \
	  echo "Skipped: stores and queues on second engines: Maven could not fetch them (make test-engines)"; \
	else $(BESIDE) dynamodb-local elasticmq -- $(ON_SECOND_ENGINES); fi

ON_MINISTACK = PATH="$(PYTHON313)/bin:$$PATH" $(BIN)/python -m pytest -q -n0 --durations=10 --durations-min=5

.PHONY: gate-ministack
gate-ministack: build
	@if $(MAKE) --no-print-directory .venv-ministack/.ready; then \
	  $(ON_MINISTACK) tests/ministack/test_deliveries.py; \
	else echo "Skipped: the stack on ministack: it could not be installed (make e2e-ministack)"; fi

.PHONY: e2e-ministack
e2e-ministack: build .venv-ministack/.ready ## Deploy to ministack, an emulator with IAM, and test the stack there: twenty minutes
	@$(ON_MINISTACK) tests/ministack

.PHONY: lint
lint: .venv/.ready ## Check format, style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy layers/core/webhooks functions local ops cli benchmarks tests

.PHONY: format
format: .venv/.ready ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: validate
validate: .venv/.ready .venv-sam/.ready ## Check the template and its form after SAM's transform
	@AWS_DEFAULT_REGION=us-east-1 $(SAM) validate --lint
	@$(BIN)/cfn-lint template.yaml deploying-role.yaml
	@mkdir -p .cache
	@$(BIN)/python -m local.template > .cache/transformed.json
	@$(BIN)/cfn-lint .cache/transformed.json

.PHONY: scan
scan: .venv/.ready .venv-run/.ready .venv-checkov/.ready ## Scan code, template, locks and licences for known risks
	@$(BIN)/python -m pytest -q -rs tests/scans

# Python in the functions' version, from the PATH or from pyenv. It compiles the deployed files.
PYTHON313 = $(shell python3.13 -c 'import sys; print(sys.base_prefix)' 2>/dev/null || \
  pyenv prefix "$$(pyenv versions --bare 2>/dev/null | grep '^3\.13\.' | tail -1)" 2>/dev/null)

.PHONY: build
build: .venv/.ready .venv-sam/.ready ## Build the deployment packages into .aws-sam
	@test -n "$(PYTHON313)" || { echo "Building needs Python 3.13, the functions' version: put python3.13 on the PATH"; exit 1; }
	@AWS_DEFAULT_REGION=us-east-1 PATH="$(PYTHON313)/bin:$$PATH" $(SAM) build
	@$(BIN)/python -m local.template .aws-sam/build/template.yaml
	@$(BIN)/python -m pytest -q tests/build

.PHONY: sam-local
sam-local: build ## Run every sample of events/ with `sam local invoke` (needs Docker)
	@if docker info >/dev/null 2>&1; then $(BIN)/python -m pytest -q -rs tests/sam_local; \
	else echo "Skipped: sam local invoke: no Docker engine is running (make sam-local)"; fi

# Asks for confirmation the first time, and before it executes a change set; never with YES=1.
DEPLOYMENT = $(BIN)/python -m ops.deployment
OF_STAGE = --stage "$(STAGE)" --sam "$(CURDIR)/$(SAM)" $(if $(YES),--yes)

# Runs before the build, because credentials, the stack's name and quotas take no minute to check.
PREFLIGHT = $(BIN)/python -m ops.preflight $@ --stage "$(STAGE)" --parameters "$(PARAMETERS)" $(if $(YES),--yes)

.PHONY: deploy
deploy: .venv/.ready ## Check, build and deploy a stage: STAGE=dev, PARAMETERS="Name=value ...", YES=1
	@$(PREFLIGHT)
	@$(MAKE) --no-print-directory build
	@exec $(DEPLOYMENT) deploy $(OF_STAGE) --parameters "$(PARAMETERS)"

.PHONY: preview
preview: .venv/.ready ## Show what a deployment would change, as a change set: STAGE=dev
	@$(PREFLIGHT)
	@$(MAKE) --no-print-directory build
	@exec $(DEPLOYMENT) preview $(OF_STAGE) --parameters "$(PARAMETERS)"

# SAM CLI is this release's; the former release compiles its functions itself.
.PHONY: rollback
rollback: .venv/.ready .venv-sam/.ready ## Return to a release: STAGE=dev, REF=tag, PARAMETERS="Name=value ..."; without REF leave a failed update; PARTS=1 afterwards
	@test -z "$(REF)" || test -n "$(PYTHON313)" || { echo "Building needs Python 3.13, the functions' version: put python3.13 on the PATH"; exit 1; }
	@PATH="$(PYTHON313)/bin:$$PATH" exec $(BIN)/python -m ops.rollback $(OF_STAGE) $(if $(REF),--ref "$(REF)") $(if $(PARTS),--parts) --parameters "$(PARAMETERS)"

.PHONY: destroy
destroy: .venv/.ready .venv-sam/.ready ## Delete a stage's stack except its customers' data: STAGE=dev, YES=1, UNDO=1
	@exec $(DEPLOYMENT) destroy $(OF_STAGE) $(if $(UNDO),--undo)

.PHONY: e2e
e2e: .venv/.ready ## Test a deployed stack, or the running one: STACK=name, RECEIVER=https://..., RECEIVER_PORT=9000
	@E2E_STACK="$(or $(STACK),local)" E2E_RECEIVER="$(RECEIVER)" E2E_RECEIVER_PORT="$(RECEIVER_PORT)" \
	  $(BIN)/python -m pytest -q tests/e2e

.PHONY: publish
publish: .venv-run/.ready ## Publish to the running stack: EVENT=email.opened or FILE=events/..., JSON=1
	@exec $(RUN) -m ops.publish $(EVENT) $(if $(FILE),--file "$(FILE)") $(if $(JSON),--json)

.PHONY: redrive
redrive: .venv-run/.ready ## Empty a dead-letter queue: QUEUE=deliveries or events, STACK=name, JSON=1, OPTIONS=...
	@exec $(RUN) -m ops.redrive $(or $(QUEUE),deliveries) $(if $(STACK),--stack "$(STACK)") $(if $(JSON),--json) $(OPTIONS)

.PHONY: rejected
rejected: .venv-run/.ready ## List event messages that were rejected, or SAVE=directory, or SEND=directory once corrected: REASON=..., STACK=name, JSON=1
	@exec $(RUN) -m ops.rejected $(if $(SAVE),--save "$(SAVE)") $(if $(SEND),--send "$(SEND)") $(if $(REASON),--reason "$(REASON)") $(if $(STACK),--stack "$(STACK)") $(if $(JSON),--json)

.PHONY: release
release: .venv-run/.ready ## Make a release, its commit and its tag: VERSION=1.2.0; DRY_RUN=1 shows the changes
	@test -n "$(VERSION)" || { echo "No version is given. Name it: make release VERSION=1.2.0" >&2; exit 2; }
	@exec $(RUN) -m ops.release "$(VERSION)" $(if $(DRY_RUN),--dry-run)

# Lambda's runtime, to measure a new function's start: its Python and its botocore.
.venv-lambda/.ready: requirements-dev.lock | .venv/.ready
	@"$(PYTHON313)/bin/python3.13" -m venv .venv-lambda
	@$(BIN)/uv pip install --quiet --python .venv-lambda/bin/python --compile-bytecode --constraints $< botocore
	@touch $@

BENCHMARK = PYTHONPATH=functions:layers/core:tests:. $(BIN)/python -m

.PHONY: bench
bench: .venv/.ready $(if $(wildcard .aws-sam/build),$(if $(PYTHON313),.venv-lambda/.ready)) ## Measure cost, speed and isolation: prints a table (JSON=1: JSON), writes benchmarks/results.json
	@$(BENCHMARK) benchmarks.run $(if $(JSON),--json)

.PHONY: bench-memory
bench-memory: .venv/.ready ## Measure each memory and batch size under its share of a CPU (needs root)
	@$(BENCHMARK) benchmarks.memory $(if $(JSON),--json)

.PHONY: bench-fairness
bench-fairness: .venv/.ready ## Simulate a quiet account next to a flood, on a model of SQS's fair queue
	@$(BENCHMARK) benchmarks.fairness

.PHONY: units
units: .venv/.ready ## Update the golden file of the deliveries' cost in AWS's units
	@$(BENCHMARK) benchmarks.scenarios --write

.PHONY: figures
figures: .venv/.ready ## Write the figures of benchmarks/ into the README, docs/budgets.md and docs/scaling.md
	@$(BENCHMARK) benchmarks.readme

# Renovate reads the command in a lock's header and runs it again, so its sources are files and its
# options those that Renovate knows. It knows no --python-platform: `make lock` alone updates that lock.
.PHONY: lock
lock: .venv/.ready ## Update the locks of pyproject.toml's dependencies; UPGRADE=1 raises all versions
	@$(BIN)/$(LOCK) --python-version=3.11 --group=dev pyproject.toml --output-file=requirements-dev.lock
	@$(BIN)/$(LOCK) --python-version=3.11 --group=run --constraint=requirements-dev.lock pyproject.toml --output-file=requirements-run.lock
	@$(BIN)/$(LOCK) --python-version=3.11 --constraint=requirements-dev.lock requirements-uv.in --output-file=requirements-uv.lock
	@$(BIN)/$(LOCK) --python-version=3.11 requirements-sam.in --output-file=requirements-sam.lock
	@$(BIN)/$(LOCK) --python-version=3.13 requirements-ministack.in --output-file=requirements-ministack.lock
	@$(BIN)/$(LOCK) --python-version=3.11 requirements-checkov.in --output-file=requirements-checkov.lock
	@$(BIN)/$(LOCK) --python-version=3.13 --constraint=requirements-dev.lock pyproject.toml --output-file=layers/core/requirements.txt
	@$(BIN)/$(LOCK:--universal=--python-platform=aarch64-manylinux2014) --python-version=3.13 --constraint=requirements-dev.lock layers/cryptography/requirements.in --output-file=layers/cryptography/requirements.txt
