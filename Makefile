# Every target installs what it needs into .venv, once. PYTHON=… chooses another interpreter.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
PY = .venv/bin/python
DATASET ?= ../shared/data/fer2013
SPLITS ?= validation test
PHOTOS ?= ../shared/data/faces
PROSE = README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md docs/*.md training/report/model_card.md
YUNET ?= $(or $(DEEPFER_YUNET),../shared/models/face_detection_yunet_2023mar.onnx)

# eslint and axe-core need Node.js 20 and npm; where these or the npm registry are missing, they are skipped.
NODE := $(shell command -v npm >/dev/null && node -e 'process.exit(Number(process.versions.node.split(".")[0] < 20))' && echo yes)
NODE_MODULES = $(if $(NODE),node_modules/.package-lock.json)

.PHONY: app test coverage lint format languages docs results benchmark notebooks train-cnn train-resnet50v2 train-detector finetune publish space clean

app: .venv/app  ## serve the page on http://127.0.0.1:7860
	$(PY) app.py

# One worker per core, up to four (each may take 1.5 GB). The tests of a file share servers and models, so they run in one
# worker.
test: .venv/test $(NODE_MODULES)  ## [PYTEST="--slow"] options for pytest: --slow adds the slow tests, -n0 uses one process
	$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST)

coverage: .venv/test $(NODE_MODULES)  ## run the tests and print which lines they miss
	$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST) --cov

lint: .venv/test $(NODE_MODULES)  ## style, types, prose
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	.venv/bin/proselint --config .proselintrc.json check $(PROSE)
	@if [ -x node_modules/.bin/eslint ]; then npx eslint ui tests/js; else echo "eslint skipped: it is not installed"; fi

format: .venv/test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

languages: .venv/app  ## bring the catalogues of translations in ui/languages up to date with the code
	$(PY) -m ui.catalogues

docs: .venv/docs  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

results: .venv/test  ## rewrite the tables of the README, the docs and the model cards from the measured files
	$(PY) -m benchmarks.report

benchmark: .venv/test  ## compare with other libraries (installed into benchmarks/environments); time per step; scaling
	$(PY) -m benchmarks.peers $(addprefix --yunet ,$(wildcard $(YUNET))) $(addprefix --dataset ,$(wildcard $(DATASET)))
	$(PY) -m benchmarks.breakdown
	$(PY) -m benchmarks.growth
	$(PY) -m benchmarks.report

notebooks: .venv/test  ## run them again and save their outputs
	PATH="$(CURDIR)/.venv/bin:$$PATH" jupyter execute --inplace notebooks/*.ipynb

train-cnn train-resnet50v2: train-%: .venv/test  ## DATASET=path or Hub id
	$(PY) -m training.train --model $* --dataset $(DATASET) --out runs/$*
	$(PY) -m training.export --run runs/$* --dataset $(DATASET) --out runs/$*/checkpoint
	$(PY) -m training.evaluate --checkpoint runs/$*/checkpoint --dataset $(DATASET) --split validation --out runs/$*/checkpoint

finetune: .venv/test  ## DATASET=folder with one subfolder of images per emotion [OUT=runs/finetuned]
	$(PY) -m training.finetune --dataset $(DATASET) --out $(or $(OUT),runs/finetuned)

train-detector: .venv/test  ## PHOTOS=folder of Parquet files, DATASET=FER2013, YUNET=the teacher's .onnx file
	$(PY) -m training.detector label --photos $(PHOTOS) --crops $(DATASET) --yunet $(YUNET)
	$(PY) -m training.detector train --photos $(PHOTOS) --crops $(DATASET) --out runs/detector
	$(PY) -m training.detector export --photos $(PHOTOS) --crops $(DATASET) --run runs/detector --out runs/detector/checkpoint
	$(PY) -m training.detector evaluate --photos $(PHOTOS) --yunet $(YUNET) --detector runs/detector/checkpoint --out runs/detector/checkpoint

define measure
$(PY) -m training.evaluate --checkpoint $(RUN)/checkpoint --dataset $(DATASET) --split $(1) --out $(RUN)/checkpoint

endef

publish: .venv/test  ## RUN=runs/NAME REPO=user/name [SPLITS=validation] [EXPORT=--float32] [PUBLISH="--private --pr --dry-run --tag v1.0.0"]
	@test -n "$(RUN)" -a -n "$(REPO)" || { echo "make publish RUN=runs/NAME REPO=user/name [DATASET=path or Hub id]"; exit 1; }
	$(PY) -m training.export --run $(RUN) --dataset $(DATASET) --out $(RUN)/checkpoint $(EXPORT)
	$(foreach split,$(SPLITS),$(call measure,$(split)))
	$(PY) -m training.publish --checkpoint $(RUN)/checkpoint --repo $(REPO) $(PUBLISH)

space: .venv/test  ## REPO=user/name [SPACE="--private --pr --dry-run"]
	@test -n "$(REPO)" || { echo "make space REPO=user/name"; exit 1; }
	$(PY) -m training.space --repo $(REPO) $(SPACE)

clean:
	rm -rf .venv node_modules build dist site *.egg-info benchmarks/environments

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --silent --no-audit --no-fund && touch $@ || rm -rf node_modules

.venv/python:
	@test -n "$(PYTHON)" || { echo "DeepFER needs Python 3.11 or 3.12; none was found (PYTHON=/path/to/python)"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/app: .venv/python requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/docs: .venv/python docs/requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

.venv/test: .venv/app training/requirements.txt tests/requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r training/requirements.txt -r tests/requirements.txt
	@touch $@
