# `make run` starts everything, `make test` proves it; both install what they need first.
# PYTHON=python3.13 selects an interpreter (3.11 or newer), PORT and the settings of docs/configuration.md the rest.

SHELL := /bin/sh
VENV  := .venv
PY    := $(VENV)/bin/python
PIP   := $(PY) -m pip --disable-pip-version-check --no-input --quiet install
NPM   := npm ci --no-audit --no-fund --loglevel=error

# An installation is named after the hash of what it was made from, so that nothing is installed twice and nothing is out of date.
hash   = $(shell cat $(1) | sha256sum | cut -c1-16)
FOR_RUN  := $(VENV)/.run-$(call hash,requirements.txt)
FOR_TEST := $(VENV)/.test-$(call hash,requirements.txt requirements-ccxt.txt requirements-tracing.txt requirements-sentry.txt requirements-dev.txt)
FOR_BENCH := $(VENV)/.bench-$(call hash,requirements.txt requirements-bench.txt)
FOR_PAGE := node_modules/.page-$(call hash,package-lock.json)
FOR_JS   := clients/js/node_modules/.test-$(call hash,clients/js/package-lock.json)

# Two copies may be started from one folder at once; only one of them installs.
ALONE := $(shell command -v flock >/dev/null && echo flock Makefile)

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifdef PYTHON
FITS := import pip, sys; sys.exit(sys.version_info[:2] != $(shell $(PYTHON) -c 'import sys; print(sys.version_info[:2])'))
else
FITS := import pip; $(NEW_ENOUGH)
endif

.DEFAULT_GOAL := help
.PHONY: help run test lint types faults soak bench docs clean install install-dev .run .test .venv .redis .chromium \
	.postgresql .prometheus

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: install ## start everything on http://127.0.0.1:8000; Ctrl-C stops it (PORT=9000 for another port)
	@exec $(PY) manage.py up

test: install-dev lint types ## lint, types, import contracts and every test
	cd clients/js && npm run --silent types && npm run --silent test
	$(PY) -m pytest -n 3 --dist loadfile

lint: install-dev ## style, formatting and import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports

types: install-dev ## mypy, strict
	$(PY) -m mypy

faults: install-dev ## break Redis in every way it knows, with clients connected; a minute and a half
	$(PY) -m pytest tests/faults -m "not soak"

soak: install-dev ## minutes of load and faults on a quiet machine; prints figures
	$(PY) -m pytest -m "slow or soak" -s

bench: install ## measure the data path on a quiet machine, a quarter of an hour (ROWS="P1 P5" for some of it)
	@test -e $(FOR_BENCH) || { $(PIP) -r requirements-bench.txt && touch $(FOR_BENCH); }
	@$(MAKE) --no-print-directory .postgresql || true
	@test -e benchmarks/peers/node_modules || { cd benchmarks/peers && $(NPM); }
	$(PY) -m benchmarks $(ROWS)

docs: install ## write the tables of settings and metrics into docs, the alert rules into docker/prometheus
	@$(PY) manage.py settings --document docs/configuration.md
	@$(PY) manage.py metrics --document docs/metrics.md
	@$(PY) manage.py prometheus_rules --document docker/prometheus/rules.yml

clean: ## remove everything that can be made again; your data in var/ stays
	rm -rf $(VENV) node_modules clients/js/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

install: ## install what `make run` needs
	@$(ALONE) $(MAKE) --no-print-directory .run

install-dev: ## install what `make test` needs
	@$(ALONE) $(MAKE) --no-print-directory .test

# --- what the two commands install ---

# Root on Debian installs; anybody else is told what to install.
define debian
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing $(1)"; \
	apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) >/dev/null; \
else \
	echo "Please install: $(1)" >&2; exit 1; \
fi
endef

# A mark says that an installation has begun; while it is there, the folder is not to be trusted.
define installing
touch $(VENV)/.unfinished && $(1) && touch $(2) && rm $(VENV)/.unfinished
endef

.run: .venv
	@test -e $(FOR_RUN) || { echo "Installing Python packages into $(VENV)"; $(call installing,$(PIP) -r requirements.txt,$(FOR_RUN)); }
	@test -e $(FOR_PAGE) || { command -v npm >/dev/null || { echo "Please install: Node 20 with npm" >&2; exit 1; }; \
		echo "Installing the chart library into node_modules"; $(NPM) && touch $(FOR_PAGE); }
	@$(MAKE) --no-print-directory .redis

.test: .run
	@test -e $(FOR_TEST) || { echo "Installing test tools into $(VENV)"; $(call installing,$(PIP) -r requirements-dev.txt,$(FOR_TEST)); }
	@test -e $(FOR_JS) || { echo "Installing test tools into clients/js"; cd clients/js && $(NPM) && cd ../.. && touch $(FOR_JS); }
	@$(MAKE) --no-print-directory .chromium .postgresql .prometheus

.venv:
	@if [ -e $(VENV)/.unfinished ] || ! $(PY) -c '$(FITS)' 2>/dev/null; then \
		for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
			$$python -c '$(NEW_ENOUGH)' 2>/dev/null && break; python=; \
		done; \
		[ -n "$$python" ] || { echo "Please install: Python 3.11 or newer (or name it: make run PYTHON=...)" >&2; exit 1; }; \
		echo "Making $(VENV) with $$($$python --version)"; \
		rm -rf $(VENV); \
		$$python -m venv $(VENV) >/dev/null || { \
			rm -rf $(VENV); \
			$(call debian,$$($$python -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')); \
			$$python -m venv $(VENV); \
		}; \
	fi

.redis:
	@[ -n "$$TICKWIRE_REDIS_URL" ] || $(PY) -c 'from project.redis_server import binary; binary()' 2>/dev/null || { $(call debian,redis-server); }

.chromium:
	@command -v chromium >/dev/null || { $(call debian,chromium fonts-dejavu-core fonts-liberation); }

# Its server only: Debian's package would make and start a cluster of the machine's own, unless it is told not to.
.postgresql:
	@command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || { \
		if [ "$$(id -u)" = 0 ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then \
			mkdir -p /etc/postgresql-common && echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf; \
		fi; \
		$(call debian,postgresql); \
	}

.prometheus:
	@command -v prometheus >/dev/null || { $(call debian,prometheus); }
