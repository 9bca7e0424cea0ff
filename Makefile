# `make repro` and `make test` are the two commands; both set up what they need.
SHELL := /bin/bash
# -p ignores the user's BASH_ENV, CDPATH, SHELLOPTS and functions.
.SHELLFLAGS := -peu -o pipefail -c
.DEFAULT_GOAL := repro
.NOTPARALLEL:
# dvc starts its stages with this shell, and the user's may start nothing.
export SHELL

# Only pinned files decide what is installed and run. The shell's settings of Python and git are
# dropped, and of uv's all but where and how it downloads (see stages/common/shell.py).
UV_FETCHES := UV_INDEX% UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_NO_INDEX UV_KEYRING_% \
  UV_CREDENTIALS_DIR UV_CONFIG_FILE UV_NO_CONFIG UV_CACHE_DIR UV_NO_CACHE UV_LINK_MODE UV_OFFLINE \
  UV_LOCK_TIMEOUT UV_NATIVE_TLS UV_SYSTEM_CERTS UV_INSECURE_HOST UV_HTTP_% UV_REQUEST_TIMEOUT \
  UV_CONCURRENT_% UV_NO_PROGRESS UV_STACK_SIZE UV_PYTHON_INSTALL_% UV_PYTHON_DOWNLOADS% \
  UV_PYPY_INSTALL_MIRROR
PYTHON_HARMLESS := PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX PYTHONHASHSEED
unexport BASH_ENV ENV CDPATH VIRTUAL_ENV CONDA_PREFIX MPLBACKEND
unexport $(filter-out $(PYTHON_HARMLESS),$(filter PYTHON%,$(.VARIABLES)))
unexport $(filter-out $(UV_FETCHES),$(filter UV_%,$(.VARIABLES)))
unexport $(filter GIT_TRACE% GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_NAMESPACE \
  GIT_PREFIX GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES,$(.VARIABLES))

UV_VERSION := 0.13.9
# An activated .venv has a uv, too, but it cannot replace its own folder.
UV := $(or $(shell type -aP uv | grep -v '^$(CURDIR)/.venv/' | head -n 1),.uv/bin/uv)
HARNESS := .venv/.complete
RUN := . .venv/bin/activate &&

# The two sides of `make diff`: each a git revision, a DVC experiment or a comparison.json.
FROM := HEAD
TO := workspace

# The choices of `make params` and `make plan`: files of conf/target/ and conf/contract/, and further
# keys (SET='chunk_sizes=[4,32] passes.sweep=3'). Empty: the defaults.
TARGET :=
CONTRACT :=
SET :=
# Only arguments of `make` count, never shell variables of these names.
BACKEND :=
RECORD :=
CLEAR :=
JSON :=
FRESH :=
ONLY :=
COMMIT :=
DEVICE :=
CHOICES = $(if $(TARGET),'target=$(TARGET)') $(if $(CONTRACT),'contract=$(CONTRACT)') $(SET)

.PHONY: combine diff doctor measure plan repro test test-quick check params remeasure lock lock-commit setup

repro: setup ## run whatever is out of date and end with the report
	@began=$$(date +%s); $(RUN) dvc repro && { python -m tools.spent --since "$$began" || true; }
	@if grep 'base_url:' params.yaml | grep -qv 'base_url: null'; then $(RUN) python -m tools.served; fi
	@echo "The report: data/report/report.md"

test: setup check browser kubectl ## every check and every test, real servers included
	@$(RUN) python -m pytest --numprocesses logical

# Pure logic, the lying backends and the decision tables: no real server and no browser.
QUICK := $(addprefix tests/,adversarial compare contract documents measure/http plan report tools/plan workload)

test-quick: setup ## the tests to run while working: minutes, and no real server
	@$(RUN) python -m pytest --numprocesses logical $(QUICK)

check: $(HARNESS) ## format, lint, types and who may import whom
	@$(RUN) ruff format --check --quiet . && ruff check --quiet . && mypy && \
	  { said=$$(lint-imports --no-logo --cache-dir .venv/.cache/import-linter 2>&1) || { echo "$$said"; exit 1; }; }

# The other programs of the tests are Debian packages, which only root may install.
APT := DEBIAN_FRONTEND=noninteractive apt-get -qq
# $(call debian,its names on the PATH,its packages,which tests need it)
define debian
@[ -n "$$(type -P $(1))" ] || { \
  [ "$$(id -u)" = 0 ] && [ -n "$$(type -P apt-get)" ] && \
  echo "$(firstword $(1)): not found, installing it for $(3)" && \
  $(APT) update >/dev/null && \
  $(APT) install -y --no-install-recommends $(2) >/dev/null; } || \
  echo "$(firstword $(1)): not found, $(3) will be skipped (apt-get install $(firstword $(2)))"
endef

.PHONY: browser kubectl remotes

browser: ## the browser of the report's tests, where it may be installed
	$(call debian,chromium chromium-browser google-chrome-stable google-chrome,chromium fonts-dejavu-core,the report's browser tests)

kubectl: ## what renders and checks the cluster's Jobs in their tests, where it may be installed
	$(call debian,kubectl,kubernetes-client,the tests of the Kubernetes manifests)
	$(call debian,shellcheck,shellcheck,the check of the Jobs' script)

remotes: $(HARNESS) ## dvc's clients of S3 and Google Storage, for a remote there
	@$(RUN) uv pip install --quiet --require-hashes --requirement deploy/remotes.txt

setup: $(HARNESS)
	@$(RUN) python -m stages.environments

# A new nonce each time, or a server that keeps running could answer from its cache. FRESH=0 keeps the
# nonce, because the journals count only under it.
remeasure: setup ## measure all four matrices anew, even if nothing changed (FRESH=0: go on after an interruption)
	@$(if $(filter-out 0 1,$(FRESH)),$(error FRESH: found $(FRESH); allowed: 0, 1))
	@$(RUN) dvc repro workload checkpoint
	@$(if $(filter 0,$(FRESH)),,$(RUN) dvc repro --single-item --force --no-run-cache nonce)
	@$(RUN) dvc repro oracle
	@$(RUN) $(if $(filter 0,$(FRESH)),dvc repro,SCOREPARITY_FRESH=1 dvc repro --force --no-run-cache --downstream \
	  $$(dvc stage list --name-only | grep '^measure@'))

measure: $(HARNESS) ## one backend's half, for another machine to combine: BACKEND=jax or pytorch
	@$(RUN) python -m tools.combine.half '$(BACKEND)'

combine: $(HARNESS) ## merge halves measured elsewhere (FROM='REF [REF...]'), compare and report
	@$(RUN) python -m tools.combine $(filter-out HEAD,$(FROM))

diff: $(HARNESS) ## what changed from FROM to TO, and whether it is more than noise
	@$(RUN) python -m tools.diff '$(FROM)' '$(TO)'

doctor: $(HARNESS) ## what is ready here, what is blocked and why (BACKEND=jax, RECORD=1, CLEAR=1, JSON=1)
	@$(RUN) python -m tools.doctor $(if $(BACKEND),--backend '$(BACKEND)') \
	  $(if $(RECORD),--record) $(if $(CLEAR),--clear) $(if $(JSON),--json)

params: $(HARNESS) ## write params.yaml: the composition of conf/'s defaults, or TARGET=, CONTRACT=, SET=
	@$(RUN) python -m tools.compose $(CHOICES)

plan: $(HARNESS) ## what params.yaml (or TARGET=, CONTRACT=, SET=) would run, and for how long; starts nothing
	@$(RUN) python -m tools.plan $(CHOICES)

lock: $(HARNESS) ## resolve and pin the environments anew, the frozen reference's left out (ONLY='FILE.in [FILE.in...]')
	@$(RUN) python -m tools.lock $(ONLY)

lock-commit: $(HARNESS) ## pin what a commit asks for, touching no other lock: COMMIT=... DEVICE=cpu
	@$(RUN) python -m tools.lock --commit '$(COMMIT)' $(if $(DEVICE),--device '$(DEVICE)')

# Not on standard output, where `make doctor JSON=1` prints only JSON.
$(HARNESS): requirements.txt .python-version | $(filter .uv/bin/uv,$(UV))
	@echo "harness: installing the pipeline's own environment into .venv" >&2
	@$(UV) venv --quiet --clear .venv
	@VIRTUAL_ENV=.venv $(UV) pip sync --quiet --require-hashes --compile-bytecode requirements.txt
	@touch $@

.uv/bin/uv:
	@echo "uv: not found, installing it into .uv" >&2
	@python3 -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
