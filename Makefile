# make demo   the main job on real data           make test    everything: lint, tests, notebooks, browser
# make lessons  opens the lessons in JupyterLab; LAB=--no-browser and other options of its own
# make lint   style, types, layers                make bench   speed, as ratios; writes docs/performance.md
# make soak   hours of random examples and faults, which the tests leave out
# make simulate N=10000   recovery under that many seeds of faults
# make faults  every failpoint: exceptions, SIGKILLs, hangs in real processes; ONLY="--point sink.commit" chooses
# make storm N=300 SEED=1   that many random schedules of kills, freezes and full disks; ON=folders: of followed folders
# make pictures   the pictures of docs/images anew, from the browser tests
# make outputs    the lessons run and saved anew, in a home of their own; ONLY="04-windows" chooses
# Needs Python 3.11 or newer and pip; everything else is installed into $(VENV). PYTHON=python3.13 chooses another.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
SEED ?= 1
JOBS ?= 2

PICTURES := live-light time-light time-dark flow-light flow-dark checkpoints-light checkpoints-dark plot-light dashboard-dark

# Jobs and tests start Python all the time, which takes several times as long where it may not keep compiled modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo lessons test lint bench simulate faults storm soak pictures outputs clean

demo: $(VENV)/installed-demo
	$(BIN)/streamlab demo

lessons: $(VENV)/installed-lessons
	$(BIN)/jupyter lab $(LAB) notebooks/01-first-stream.ipynb

# Lint is done beside the tests, whose first ones wait for browsers.
test: $(VENV)/installed-test
	.ci/install-chromium
	.ci/install-postgresql
	$(MAKE) --no-print-directory lint & lint=$$!; \
	$(BIN)/python -m pytest -n $(WORKERS); tests=$$?; \
	wait $$lint || { echo "make lint has failed: see above" >&2; exit 1; }; \
	exit $$tests

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/installed-test
	.ci/install-chromium
	$(BIN)/python tests/bench/run.py

soak: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow --hypothesis-profile=exploring

simulate: N ?= 1000
simulate: $(VENV)/installed-test
	$(BIN)/python -m streamlab.testing.simulation --seeds $(N)

faults: $(VENV)/installed-test
	.ci/install-postgresql
	$(BIN)/python tests/faults/matrix.py --jobs $(JOBS) $(ONLY)

storm: N ?= 20
storm: ON ?= sinks
storm: $(VENV)/installed-test
	.ci/install-postgresql
	$(BIN)/python tests/faults/storm.py --storms $(N) --seed $(SEED) --jobs $(JOBS) --on $(ON)

pictures: $(VENV)/installed-test
	.ci/install-chromium
	$(BIN)/python -m pytest $(addprefix tests/notebook/test_,browser.py panel_in_browser.py dashboard_in_browser.py)
	$(BIN)/python .ci/small_pictures.py $(PICTURES)

outputs: $(VENV)/installed-test
	$(BIN)/python .ci/save_lessons.py $(ONLY)

clean:
	rm -rf $(VENV)

$(VENV)/installed-demo: pyproject.toml
	.ci/install $(PYTHON) $(VENV) demo
	touch $@

$(VENV)/installed-lessons: pyproject.toml
	.ci/install $(PYTHON) $(VENV) lessons
	touch $@

$(VENV)/installed-test: pyproject.toml
	.ci/install $(PYTHON) $(VENV) test,lint
	touch $@
