# Two commands: `make demo` shows the main job on a real checkpoint, `make test` runs every check.
# Each sets up all that it needs in a virtual environment of this folder.

PYTHON ?= python3
MODEL  := fixtures/keras/netra-transliterate/bi_gru_attention_khmer_transliterator.keras
OUT    := demo-output

.PHONY: demo test lint docs benchmark fuzz clean

demo: .venv/demo-ready
	rm -rf $(OUT) && mkdir $(OUT)
	.venv/bin/weightport inspect $(MODEL)
	.venv/bin/weightport convert $(MODEL) $(OUT)/model.safetensors
	.venv/bin/python docs/examples/check_by_reference.py $(MODEL) $(OUT)/model.safetensors

test: .venv/test-ready lint
	.venv/bin/python -m pytest -n 2 --dist loadgroup

lint: .venv/test-ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: .venv/demo-ready
	.venv/bin/python docs/generate.py
	.venv/bin/python docs/generate_layers.py

benchmark: .venv/test-ready
	.venv/bin/python tests/benchmarks/copies.py
	.venv/bin/python tests/benchmarks/conversions.py

# make fuzz MINUTES=60; one reader alone: .venv/bin/python tests/hostile/fuzz.py --reader onnx
fuzz: .venv/test-ready
	.venv/bin/python tests/hostile/fuzz.py --minutes $(or $(MINUTES),10)

clean:
	rm -rf .venv $(OUT)

.venv/bin/python:
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip

.venv/demo-ready: .venv/bin/python pyproject.toml
	.venv/bin/python -m pip install --quiet -c constraints.txt -e .
	touch $@

# torch is asked for by its exact version, so that the CPU build is taken where there is one.
.venv/test-ready: .venv/bin/python pyproject.toml constraints.txt
	.venv/bin/python -m pip install --quiet -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	.venv/bin/python -m pip install --quiet -c constraints.txt -e '.[test,torch,tensorflow,onnxruntime]'
	touch $@
