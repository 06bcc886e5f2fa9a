# Two commands do everything on a fresh machine: `make demo` and `make test`.
# PYTHON=/path/to/python3 chooses another Python than the one found.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test bench docs lint clean

# What the caller has active must not leak into the environment made here.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PYTHONNOUSERSITE := 1
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:
	@echo 'make demo    train three models on synthetic X-rays and compare them (minutes)'
	@echo 'make test    check style and types, run all tests (on a real Slurm cluster if available)'
	@echo "make bench   time launching, collecting, images, checkpoints and training, compared with the tutorials' own code"
	@echo 'make docs    build the documentation into build/docs'
	@echo 'make lint    check style and types only'
	@echo 'make clean   remove .venv and caches; results/ is kept'

demo: .venv/demo-installed
	.venv/bin/python -m xray_hpc.launch -m model=cnn,tl,ft

test: .venv/dev-installed
	@tests/slurm/install.sh accounting
	@$(MAKE) --no-print-directory lint
	.venv/bin/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder  # much of it waits for Slurm, not for a CPU

docs: .venv/docs-installed
	.venv/bin/python -m sphinx --fail-on-warning --keep-going --nitpicky -q -b html docs build/docs
	@echo 'open build/docs/index.html'

bench: .venv/dev-installed
	.venv/bin/python -m tests.benchmarks --save

lint: .venv/dev-installed
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy --strict xray_hpc jobs hydra_plugins

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The newest interpreter is not always one that TensorFlow has wheels for, so those known to work
# are tried first; the one chosen by PYTHON= is only held to 3.10.
.venv/made:
	@old='import sys; sys.exit(sys.version_info < (3, 10))'; \
	known='import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'; \
	found='$(PYTHON)'; \
	for name in python3 python3.13 python3.12 python3.11 python3.10; do \
	    if [ -z "$$found" ] && "$$name" -c "$$known" 2>/dev/null; then found=$$name; fi; \
	done; \
	found=$${found:-python3}; \
	if ! "$$found" -c "$$old" 2>/dev/null; then \
	    echo "error: $$found is no Python 3.10 or newer; give one: make PYTHON=/path/to/python3 ..." >&2; \
	    exit 1; \
	fi; \
	echo "making .venv with $$("$$found" --version)"; \
	if ! "$$found" -m venv --clear .venv; then \
	    rm -rf .venv; \
	    echo "error: $$found cannot make a venv (Debian and Ubuntu: apt install python3-venv)" >&2; \
	    exit 1; \
	fi
	@touch $@

# Installed again only when pyproject.toml changes. What the tests need includes what the demo needs.
.venv/demo-installed: extra :=
.venv/dev-installed: extra := [dev]
.venv/docs-installed: extra := [docs]
.venv/%-installed: pyproject.toml | .venv/made
	@echo 'installing xray_hpc$(extra) and what it needs into .venv (TensorFlow is large: minutes) ...'
	@.venv/bin/python -m pip install -qq --disable-pip-version-check --editable '.$(extra)'
	@touch $@
