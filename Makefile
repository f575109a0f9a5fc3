# The whole of the project's tool chain. `make` alone lists what there is.
#
# Everything runs on a copy of the tree: Ansible and ansible-test insist on a folder named
# ansible_collections/openstack/upgrade_test, and inside of a git checkout ansible-test would list the files with git,
# find an ignored folder, test nothing and succeed. The copy and the tools live in the cache folder of the user.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

FROM ?= 2025.1
TO ?= 2026.1
PROFILE ?= core
LAB_ROOT ?= /var/lib/upgrade-test-lab
LAB_NETWORK ?= 172.24.4.0/24
RUNS_DIR ?= $(CURDIR)/upgrade-test-runs

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/openstack.upgrade_test
# Two checkouts on one machine do not share a copy.
CHECKOUT := $(notdir $(CURDIR))-$(firstword $(shell printf %s '$(CURDIR)' | cksum))
TREE := $(CACHE)/trees/$(CHECKOUT)
COPY := $(TREE)/ansible_collections/openstack/upgrade_test
VENV := $(CACHE)/venv
BEGAN := $(shell date +%s)

export PATH := $(VENV)/bin:$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(TREE)
export LC_ALL := C.UTF-8
# Ansible's modules are imported hundreds of times in a run; without bytecode each import compiles anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo clean test test-full static lint types units sanity pylint scenarios docs lab-test bench artifact copy distclean

help: ## this list
	@echo 'Two commands for a newcomer (as root, on Debian or Ubuntu with Python 3.11 or newer):'
	@echo '  make demo    deploy a small real OpenStack, upgrade it while watching, judge it'
	@echo '  make test    everything that must pass before a change is taken'
	@echo
	@sed -nE 's/^([a-z-]+):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14 | sed 's/^/  /'
	@echo
	@echo 'Variables: FROM=$(FROM) TO=$(TO) PROFILE=$(PROFILE) RUNS_DIR=$(RUNS_DIR)'
	@echo '           LAB_ROOT=$(LAB_ROOT) LAB_NETWORK=$(LAB_NETWORK)'

demo: $(VENV)/.ready ## lab, test around an upgrade FROM -> TO, verdict; about a quarter of an hour
	@exec tools/demo run --began $(BEGAN) --from '$(FROM)' --to '$(TO)' --profile '$(PROFILE)' \
	  --lab-root '$(LAB_ROOT)' --lab-network '$(LAB_NETWORK)' --runs-dir '$(RUNS_DIR)' --tree '$(TREE)-demo'

clean: $(VENV)/.ready ## remove the lab of `make demo`; its runs are kept
	@exec tools/demo clean --lab-root '$(LAB_ROOT)' --runs-dir '$(RUNS_DIR)' --tree '$(TREE)-demo'

test: $(VENV)/.ready-test ## static units scenarios lab-test, and how long each took
	@exec tools/steps static units scenarios lab-test

test-full: copy ## end to end against a lab with all services; not part of `make test` (root, an hour and a quarter)
	cd $(COPY) && PYTHONPATH=$(TREE) pytest tests/lab_full

# Each of them keeps one core busy.
static: ## lint types sanity pylint docs, two at a time
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target --keep-going pylint lint sanity docs types

lint: copy ## ruff, yamllint, ansible-lint
	cd $(COPY) && ruff check . && ruff format --check . && yamllint --strict . && ansible-lint

types: copy ## mypy
	cd $(COPY) && MYPYPATH=$(TREE) mypy --package ansible_collections.openstack.upgrade_test.plugins

units: copy ## unit tests with coverage
	cd $(COPY) && PYTHONPATH=$(TREE) pytest --numprocesses 2 --dist worksteal --cov --cov-report=term:skip-covered

sanity: copy ## ansible-test sanity, but for its pylint
	tools/sanity $(COPY) --skip-test pylint

pylint: copy ## ansible-test sanity's pylint, which takes longer than all its other tests
	tools/sanity $(COPY) --test pylint

scenarios: copy ## molecule scenarios; they need no cloud
	cd $(COPY) && molecule test --all

docs: copy ## documentation of plugins and roles, changelog fragments
	cd $(COPY) && antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs all . && antsibull-changelog lint

lab-test: copy ## end to end against the embedded lab, planted faults included (root)
	cd $(COPY) && PYTHONPATH=$(TREE) pytest tests/lab

bench: copy ## benchmarks, each ends with one line of JSON; BENCH=name runs one
	cd $(COPY) && for bench in tests/benchmarks/$(or $(BENCH),*).py; do PYTHONPATH=$(TREE) python "$$bench"; done

artifact: copy ## the collection's archive, as Galaxy would import it
	cd $(COPY) && ansible-galaxy collection build --force --output-path $(TREE)
	cd $(TREE) && python -m galaxy_importer.main openstack-upgrade_test-*.tar.gz

distclean: ## remove the tools and the copies from the cache
	rm -rf '$(CACHE)'

copy: $(VENV)/.ready-test
	@tools/copy . $(COPY)

$(VENV)/.ready: requirements.txt tools/bootstrap
	@tools/bootstrap $(VENV) requirements.txt
	@touch $@

$(VENV)/.ready-test: requirements-test.txt $(VENV)/.ready
	@tools/bootstrap $(VENV) requirements-test.txt
	@touch $@
