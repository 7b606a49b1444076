# Everything runs in .venv, which is made on first use. `PYTHON=/path/to/python3` picks another Python.
PROMPT = Why is the sky blue? Answer in two sentences.
ARGS =
BIN = .venv/bin
ASKED := $(value PROMPT)
export ASKED PYTHON

.PHONY: bench check check-metal compare demo dev dist docs fix golden sabotage setup test

demo: setup  ## answer PROMPT with a small model, downloaded once
	@$(BIN)/mistralrs-mlx run -m demo --temperature 0 --max-tokens 256 -i "$$ASKED"

setup:  ## install the package into .venv
	@sh scripts/setup.sh demo

dev:  ## install what tests and checks need, too
	@sh scripts/setup.sh dev

test: dev  ## run the tests; ARGS="-k name" picks some
	@$(BIN)/python -m pytest $(ARGS)

check: dev  ## format, lint, types, layers, tidiness
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest tests/tidy

fix: dev  ## mend what can be mended without thinking
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

golden: dev  ## rewrite the reference values; needs torch and transformers
	@sh scripts/setup.sh golden
	@$(BIN)/python scripts/make_golden.py
	@$(BIN)/python scripts/make_embedding_goldens.py
	@$(BIN)/python -m scripts.measure_goldens

docs: dev  ## rewrite the generated tables, and build the site into site/
	@sh scripts/setup.sh docs
	@$(BIN)/python -m scripts.make_docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

dist: dev  ## build what is published into dist/, install it elsewhere and try it
	@$(BIN)/python -m scripts.check_release $(ARGS)

check-metal: dev  ## on a Mac: compare the GPU with the CPU; prints a report for an issue
	@$(BIN)/python -m scripts.check_metal $(ARGS)

bench: setup  ## measure the demo model on this machine; ARGS="-m MODEL" another one
	@$(BIN)/mistralrs-mlx bench $(ARGS)

compare: dev  ## race mlx-lm and whoever is installed on the same weights
	@$(BIN)/python benchmarks/compare.py $(ARGS)

sabotage: dev  ## break the code on purpose and see the tests notice; ARGS="rope" some of it
	@$(BIN)/python -m scripts.sabotage $(ARGS)
