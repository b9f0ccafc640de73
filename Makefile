# Every target does its own set-up in .venv, once, and repeats cheaply. PYTHON=… chooses another interpreter.
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
PY = .venv/bin/python
DATASET ?= ../shared/data/fer2013
SPLITS ?= validation test
PHOTOS ?= ../shared/data/faces
YUNET ?= $(or $(DEEPFER_YUNET),../shared/models/face_detection_yunet_2023mar.onnx)

.PHONY: app test lint format results benchmark notebooks train-cnn train-resnet50v2 train-detector publish space clean

app: .venv/app  ## serve the page on http://127.0.0.1:7860
	$(PY) app.py

# A worker for each core, up to four (each may take 1.5 GB), and each file's tests in one of them, for the servers and
# models that they share.
test: .venv/test  ## with PYTEST="options for pytest": --slow for everything, -n0 for one process
	$(PY) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST)

lint: .venv/test $(if $(shell command -v npm),node_modules/.package-lock.json)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(if $(shell command -v npm),npx eslint .,@echo "eslint skipped: Node.js with npm is not installed")

format: .venv/test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

results: .venv/test  ## rewrite the tables of README and cards from metrics.json and the measured figures
	$(PY) -m training.results

benchmark: .venv/test  ## beside other libraries (each installed in benchmarks/environments), part by part, and as cost grows
	$(PY) -m benchmarks.peers $(addprefix --yunet ,$(wildcard $(YUNET))) $(addprefix --dataset ,$(wildcard $(DATASET)))
	$(PY) -m benchmarks.breakdown
	$(PY) -m benchmarks.growth
	$(PY) -m training.results

notebooks: .venv/test  ## run them anew, outputs and all
	PATH="$(CURDIR)/.venv/bin:$$PATH" jupyter execute --inplace notebooks/*.ipynb

train-cnn train-resnet50v2: train-%: .venv/test  ## DATASET=path or Hub id
	$(PY) -m training.train --model $* --dataset $(DATASET) --out runs/$*
	$(PY) -m training.export --run runs/$* --dataset $(DATASET) --out runs/$*/checkpoint
	$(PY) -m training.evaluate --checkpoint runs/$*/checkpoint --dataset $(DATASET) --split validation --out runs/$*/checkpoint

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
	rm -rf .venv node_modules build dist *.egg-info benchmarks/environments

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --silent --no-audit --no-fund
	@touch $@

.venv/python:
	@test -n "$(PYTHON)" || { echo "DeepFER needs Python 3.11 or 3.12; none was found (PYTHON=/path/to/python)"; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/app: .venv/python requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/test: .venv/app training/requirements.txt tests/requirements.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r training/requirements.txt -r tests/requirements.txt
	@touch $@
