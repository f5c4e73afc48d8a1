# `make report` and `make test` need nothing but Python 3.11-3.13; what they install goes into .venv.
PYTHON ?= python3
VENV ?= .venv
READY = $(VENV)/ready
BIN = $(VENV)/bin
# TensorFlow's start-up messages drown what a run has to say.
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: report site results results-quick test test-slow test-course wheel test-wheel bench bench-gpu lint lab picture clean

# The paper's story on digits in colour: backgrounds that say nothing of the label, a small network, four trainings, the last
# three going on from the first. A demonstration: chosen after seeing that LAT from random weights does badly there. Few images,
# and fewer for the strongest attack and its checks, so that it takes three minutes.
report: $(READY)
	@$(BIN)/locadv report --dataset composite --profile class --out reports/composite -p correlation 0 -p train_limit 4000 \
	  -p classifier pooled_cnn -p trainings '["natural", "random mask", "LAT", "AT"]' -p fine_tune 8 -p train_steps 1 \
	  -p test_limit 300 -p headline_limit 40 -p eps_multiples '[0.5, 1.0, 1.5]' -p reliance_limit 80

# The studies of results/PROTOCOL.md: hours. It says how many, may be stopped at any time, and then continues.
results: $(READY)
	$(BIN)/python results/run.py
	$(BIN)/python results/page.py

# Two of them with a tenth of the images, into sweeps/results-quick: a quarter of an hour.
results-quick: $(READY)
	$(BIN)/python results/run.py --quick

# The lessons executed, guides and API as HTML, in site/html. SITE_PROFILE=smoke is for a quick look.
SITE_PROFILE ?= class
site: $(READY)
	@$(BIN)/python docs/site/make_site.py --profile $(SITE_PROFILE)

# Two at a time; HYPOTHESIS_PROFILE=ci tries more cases of each property.
test: $(READY) lint
	$(BIN)/python -m pytest -m 'not slow' --numprocesses 2 --dist worksteal --durations=25

# What `make test` leaves out: browsers, clusters of processes, most notebooks. Tests of a group share a worker.
test-slow: $(READY)
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadgroup --durations=25

# Every assignment, handed in rightly and wrongly, through nbgrader: minutes. Three workers, as each waits for kernels.
test-course: $(READY)
	@if [ -d tests/grading ]; then $(BIN)/python -m pytest tests/grading --numprocesses 3 --durations=25; \
	  else echo "A public copy has no assignments to test." >&2; fi

# What `pip install` takes: the kit with its lessons. The path is the last line.
wheel: $(READY)
	@rm -rf dist
	@$(BIN)/python -m build --quiet >&2
	@ls dist/*.whl

# The same, installed and used away from this clone.
test-wheel: wheel
	.ci/test-wheel $(BIN)/python dist/*.whl

# The peers are no part of the environment until they are asked for.
bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[peers]' >&2
	$(BIN)/locadv bench

# On a machine with an NVIDIA GPU; its libraries (2.5 GB) come with the extra. Writes benchmarks/RESULTS_GPU.md.
bench-gpu: $(READY)
	@nvidia-smi --list-gpus 2>/dev/null || { echo "no GPU: nvidia-smi finds none, so nothing was run." >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[gpu,peers]' >&2
	$(BIN)/python benchmarks/gpu.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lab: $(READY)
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

# The README's picture and the numbers of its caption.
picture: $(READY)
	$(BIN)/python docs/picture.py

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and \
	  f"Python 3.11-3.13 is needed, this is {sys.version.split()[0]}; try: make PYTHON=python3.12 test")'
	@echo "Setting up $(VENV) (a few minutes, once) ..." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' >&2
	@touch $@

clean:
	rm -rf $(VENV) reports sweeps dist site
