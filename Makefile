.PHONY: style test bench coverage

style:  ## what CI checks besides the tests
	ruff check .
	ruff format --check .
	mypy

test:
	pytest

bench:  ## writes dated results into benchmarks/
	for script in benchmarks/*.py; do python $$script || exit 1; done

coverage:  ## every architecture of transformers, timm and torchvision against an independent count
	python tests/capture/coverage.py
