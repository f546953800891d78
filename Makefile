# make run    set up, run the whole course on simulated pages, say where to look
# make test   set up, run every test, chapters included
# make quick  set up, run the tests that take seconds, and chapter 01
# make lab    set up, open the chapters in JupyterLab
# make site   set up, build the reading edition: all chapters as pages that open from disk, without a network
# make refresh  re-execute the stored chapters        make lock  renew requirements.lock
# make clean  remove the environment and what make itself simulated, cached or executed (no downloads, no runs of yours)

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run test quick style lab site refresh lock clean

run: $(READY)
	$(BIN)/heartai course --profile quick

test: style
	$(BIN)/python -m pytest --nbval --nbval-current-env

quick: style
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --nbval --nbval-current-env tests notebooks/01_what_an_ecg_shows.ipynb

style: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

# the setting is for chapter 10: without it, an upload of more than 10 MB ends the connection
lab: $(READY)
	$(BIN)/jupyter lab notebooks --ServerApp.tornado_settings="{'websocket_max_message_size': 250000000}"

site: $(READY)
	$(BIN)/python docs/make_site.py

refresh: $(READY)
	$(BIN)/python notebooks/refresh.py

# a changed lock or pyproject.toml is installed on the next call
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Heart AI needs Python 3.10 or newer: make run PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $(READY)

# needs uv; leaves out where the packages come from
lock:
	uv pip compile pyproject.toml --extra test --universal --python-version 3.10 --upgrade --quiet \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate --output-file requirements.lock

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info data/simulated data/thumbnails data/audit data/course docs/_build
	find heartai_utils tests notebooks benchmarks docs -name __pycache__ -prune -exec rm -rf {} +
