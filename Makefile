# Two commands: `make run` and `make test`. Both install what they need into .venv first.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# dev, or all: with Ray, ONNX, MLflow, the accountant and pip-audit
EXTRAS ?= dev
LOCK := requirements/$(EXTRAS).lock
# Which build of it is the machine's choice, so that it has a version and no hash
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)",$$/\1/p' pyproject.toml)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
STAMP := $(VENV)/.installed-$(EXTRAS)

# Byte code is kept: else every worker compiles all tests anew, which takes it six seconds
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install run test test-fast test-deployment grpc-demo check audit benchmark site lock wheels clean

install: $(STAMP)

$(STAMP): pyproject.toml $(LOCK)
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; say which with make PYTHON=..." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "make: no venv module; on Debian: apt-get install python3.11-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) (PyTorch is large: a few minutes the first time)"
	@$(PIP) install --require-hashes --no-deps -r $(LOCK)
	@$(PIP) install --no-warn-conflicts $(TORCH)
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

run: install  ## the plain mean against the sieve on ML-100K under attack
	@$(BIN)/fedsieve demo

test: test-fast test-deployment  ## everything

test-fast: install check  ## COVERAGE=1 counts what they reach, which takes a third more time
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not deployment" -n auto --dist loadfile --no-loadscope-reorder -rs \
		$(if $(COVERAGE),--cov --cov-report=term:skip-covered --cov-fail-under=90)

test-deployment: install  ## real SuperLink and nodes on 127.0.0.1, and containers where there is Docker; mostly waiting
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m deployment -n 3 --dist loadfile --no-loadscope-reorder -rs

check: install  ## style, types, import rules, unsafe calls
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/codespell README.md SECURITY.md CONTRIBUTING.md CHANGELOG.md docs
	@$(BIN)/bandit --quiet -c pyproject.toml -r server client common attacks transport emulation experiments fedsieve benchmarks docker

audit: install  ## known weaknesses of what is installed; asks PyPI, and fails where it cannot be asked
	@$(PIP) install --no-build-isolation -e ".[audit]"
	@$(BIN)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' > $(VENV)/audited.txt
	@$(BIN)/pip-audit --strict --progress-spinner off --disable-pip --no-deps -r $(VENV)/audited.txt

grpc-demo: install  ## one SuperLink, three honest nodes and a malicious one as processes
	@$(BIN)/fedsieve grpc-demo

benchmark: install  ## device updates per second, accuracy over seeds, the headline grid (hours)
	@$(BIN)/python -m benchmarks.throughput
	@$(BIN)/python -m benchmarks.accuracy
	@$(BIN)/fedsieve compare configs/compare/headline.yaml --out runs/headline

site:  ## the documentation as pages, in site/
	@$(MAKE) --no-print-directory install EXTRAS=all
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html"

UV_LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	$(if $(UPGRADE),--upgrade) pyproject.toml

lock: install  ## after a change of pyproject.toml; UPGRADE=1 takes the newest releases
	@echo byzfl==0.0.11 | $(UV_LOCK) - --all-extras --output-file requirements/all.lock
	@echo byzfl==0.0.11 | $(UV_LOCK) - --extra dev --constraints requirements/all.lock --output-file requirements/dev.lock
	@$(UV_LOCK) --extra server --extra report --constraints requirements/all.lock --output-file requirements/run.lock

wheels: install  ## what `OFFLINE=1 docker compose build` needs
	@$(PIP) download --only-binary=:all: --dest docker/wheels \
		--extra-index-url https://download.pytorch.org/whl/cpu $(TORCH)
	@$(PIP) download --only-binary=:all: --dest docker/wheels --no-deps --require-hashes -r requirements/run.lock

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
