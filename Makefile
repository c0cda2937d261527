# The commands of the README. Everything runs from .venv, which `make setup` makes.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DEFAULT_GOAL := help
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Some build environments set it; each command would then compile Ansible anew, a second of CPU time each.
unexport PYTHONDONTWRITEBYTECODE
LOCAL := -i inventory/local
FAILOVER := $(addprefix -i $(CURDIR)/molecule/,default/inventory failover/inventory)
# Who says it, before each line; it goes on reading when it is interrupted, because there is a clean-up to tell of.
PREFIXED = (trap '' INT TERM; exec sed --unbuffered 's/^/$(patsubst test-%,%,$@)  /')
SCENARIOS := default security logs operations scale backup failover

.PHONY: help setup machines demo status drill destroy lint unit molecule test test-debian13 test-debian12 test-all faults compare bench docs screenshots site lock

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## Install the controller's tools into .venv
	@tools/setup

machines: setup ## Make the demo's machines only
	$(BIN)/ansible-playbook $(LOCAL) playbooks/local_machines.yml

demo: machines ## Deploy a cluster on local machines and run a real DAG across it
	$(BIN)/ansible-playbook $(LOCAL) playbooks/secrets.yml -e airflow_secrets_plaintext=true
	$(BIN)/ansible-playbook $(LOCAL) site.yml
	$(BIN)/python tools/demo.py

status: setup ## Report how the demo's cluster is (DRIFT=yes: and what site.yml would change)
	$(BIN)/ansible-playbook $(LOCAL) playbooks/status.yml $(if $(DRIFT),--check)

drill: setup ## Cut one of the demo's workers off the network, and report what became of its tasks
	@for machine in control1 worker1 worker2; do \
	    $$([ $$(id -u) = 0 ] || echo sudo) podman container exists acc-demo-$$machine || \
	        { echo "make drill: the demo's $$machine is not there; make demo first" >&2; exit 1; }; \
	done
	$(BIN)/ansible-playbook $(LOCAL) playbooks/failover_drill.yml -e cluster_confirm=yes

destroy: setup ## Take the demo's machines away
	$(BIN)/ansible-playbook $(LOCAL) playbooks/local_machines.yml -e local_machines_state=absent

lint: setup ## Check style, types, syntax, spelling, the collection and the docs
	tools/lint

unit: setup ## Run the tests that need no machine
	$(BIN)/pytest tests --numprocesses auto --dist loadfile --junitxml=artifacts/unit.xml

molecule: setup ## Run Molecule scenarios (DEBIAN=12 SCENARIO=default; default: 13, those that share machines)
	tools/molecule $(or $(DEBIAN),13) $(or $(SCENARIO),$(SCENARIOS))

# The two releases side by side: one waits while the other works.
# Every scenario is with one of them, so that both have about the same to do.
test: setup ## Run every check and the scenarios, without the long operations; on Debian 12 what may differ there
	$(MAKE) --jobs=2 --output-sync=target lint unit
	$(BIN)/ansible-playbook -i molecule/default/inventory molecule/default/prepare.yml
	$(MAKE) --jobs=2 test-debian13 test-debian12

test-debian13: setup
	PYTEST_ADDOPTS="-m 'not long'" tools/molecule 13 default security 2>&1 | $(PREFIXED)

test-debian12: setup
	(PYTEST_ADDOPTS="-m 'not long and not same_everywhere'" tools/molecule 12 collection default logs operations backup failover && \
	    tools/molecule 12 roles) 2>&1 | $(PREFIXED)

# An upgrade begins with an older Airflow, so it has machines of its own; so have single roles, external services, a host for each
# group, the removal of a cluster and the tutorial.
test-all: lint unit ## Run every check and every scenario on both releases of Debian (hours)
	tools/molecule 13 collection $(SCENARIOS)
	for one in roles upgrade external apart uninstall tutorial; do tools/molecule 13 $$one || exit 1; done
	tools/molecule 12 collection $(SCENARIOS)
	for one in roles upgrade external apart uninstall tutorial; do tools/molecule 12 $$one || exit 1; done
	$(BIN)/python tools/test_summary.py artifacts/*.xml --page docs/test-all.md

faults: export MOLECULE_DEBIAN = $(or $(DEBIAN),13)
faults compare: export MOLECULE_EPHEMERAL_DIRECTORY = $(CURDIR)/.cache/molecule-$(MOLECULE_DEBIAN)
faults: setup ## Break a cluster in every way, five times each, and write docs/faults.md (two hours; DEBIAN=12)
	$(BIN)/molecule converge --scenario-name failover
	cd tests/cluster && ../../$(BIN)/python -m faults run $(FAILOVER) --repetitions $(or $(REPETITIONS),5); \
	    status=$$?; ../../$(BIN)/python -m faults page; exit $$status
	$(BIN)/molecule destroy --scenario-name failover

compare: export MOLECULE_DEBIAN = 13
compare: setup ## Lose a worker with our settings and with Airflow's own, and write docs/failover-comparison.md
	$(BIN)/molecule converge --scenario-name failover
	cd tests/cluster && ../../$(BIN)/python -m faults compare $(FAILOVER)
	$(BIN)/molecule destroy --scenario-name failover

bench: setup ## Measure the cluster against stock Airflow, and write docs/performance.md (hours; ONLY=deploy,tasks,idle,heartbeats ROUNDS=3 KEEP=yes)
	cd tools && PYTHONPATH=../tests/cluster ../$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(KEEP),--keep)

docs: setup ## Write what the docs take from the code: docs/variables.md, pictures
	$(BIN)/python tools/document_variables.py
	$(BIN)/python tools/failover_plot.py
	$(BIN)/python tools/architecture_plot.py
	$(BIN)/python tools/performance_plot.py

screenshots: setup ## Write the pictures of the UI in docs/images, from the demo (make demo first)
	$(BIN)/python tools/screenshots.py

site: setup ## Build the site of the documentation in .cache/site
	tools/docs_site

lock: setup ## Resolve pyproject.toml anew (tools/lock --upgrade for newer versions)
	tools/lock
