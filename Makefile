# The door for people: `make help`. The first call sets up .venv; later ones start at once.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
ARGS ?=

.PHONY: $(shell grep -oE '^[a-z0-9-]+:' $(MAKEFILE_LIST) | tr -d :)

##@ Start

help:  ## list the targets
	@awk '/^##@/ { print "\n" substr($$0, 5) } /^[a-z0-9-]+:.*##/ { name = $$1; sub(/:.*/, "", name); \
	    sub(/^[^#]*## /, ""); printf "  %-18s %s\n", name, $$0 }' $(MAKEFILE_LIST)

setup: $(READY)  ## install birds and its packages into .venv; the other targets do it when needed
	@echo "birds is installed in .venv. Next: make sweep-exp1, or source .venv/bin/activate and birds --help"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "birds needs Python 3.11 or newer; make PYTHON=python3.11 ...")'
	@echo "Installing birds and its packages into .venv, in the versions of constraints.txt (about 90 s) ..."
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

data: $(READY)  ## how to obtain BIRDS 525 SPECIES
	@$(VENV)/bin/birds data obtain

preview: $(READY)  ## a contact sheet of the embedded birds: runs/preview.png
	@$(VENV)/bin/birds data preview

##@ Sweeps

sweep-exp1: $(READY)  ## experiment 1 (splits 70 and 90, variants A, B1, B2), then its table; ARGS="seed=0,1,2" adds to it
	@$(RUN) train.py -m sweeps=exp1 $(ARGS)

sweep-exp2: $(READY)  ## experiment 2 (split 90, variants A, B0, B1, B2, DAE, DVAE); shares what experiment 1 did
	@$(RUN) train.py -m sweeps=exp2 $(ARGS)

sweep-noise: $(READY)  ## how much salt and pepper DAE should remove, and how robust it makes the classifier
	@$(RUN) train.py -m sweeps=noise $(ARGS)

sweep-unet: $(READY)  ## how much a U-Net's skip connections should let through (docs/unet.md)
	@$(RUN) train.py -m sweeps=unet $(ARGS)

sweep-pool: $(READY)  ## do unlabelled images of other classes make pretraining pay? (ARGS="data=birds525 data.root=FOLDER ...")
	@$(RUN) train.py -m sweeps=pool $(ARGS)

sweep-steps: $(READY)  ## is what pretraining gives more than a start? A, B2 and DAE with 20, 80 and 160 steps an epoch
	@$(RUN) train.py -m sweeps=steps $(ARGS)

sweep-gan: $(READY)  ## two DCGANs and the classifiers that stand on them (ARGS="data=fashion_mnist data.root=FOLDER")
	@$(RUN) train.py -m sweeps=gan $(ARGS)

sweep-mnist: $(READY)  ## a small network on digits at four widths (ARGS="data.root=FOLDER"; birds data obtain mnist)
	@$(RUN) train.py -m sweeps=mnist $(ARGS)

sweep-alexnet: $(READY)  ## AlexNet at three widths on small images (ARGS="data.root=FOLDER")
	@$(RUN) train.py -m sweeps=alexnet $(ARGS)

sweep-transfer: $(READY)  ## from scratch, frozen with an SVM, fine-tuned without and with augmentation (ARGS="encoder.weights=FILE ...")
	@$(RUN) train.py -m sweeps=transfer $(ARGS)

sweep-backbones: $(READY)  ## twelve pretrained networks with one head, in one overall table
	@$(RUN) train.py -m sweeps=backbones $(ARGS)

sweep-two-classes: $(READY)  ## a new last layer for a folder of two classes (ARGS="data.root=FOLDER encoder.weights=FILE")
	@$(RUN) train.py -m sweeps=two_classes $(ARGS)

sweep-ontop: $(READY)  ## pretrained weights alone, or with unlabelled photos (ARGS="encoder.weights=FILE ...")
	@$(RUN) train.py -m sweeps=ontop $(ARGS)

sweep-vit: $(READY)  ## a vision transformer beside a convolutional network
	@$(RUN) train.py -m sweeps=vit $(ARGS)

sweep-tuned: $(READY)  ## every method tuned with the same number of trials, then compared
	@$(RUN) train.py -m sweeps=tuned $(ARGS)

sweep-tuned-heads: $(READY)  ## the same for five methods on frozen weights (ARGS="encoder.weights=FILE ...")
	@$(RUN) train.py -m sweeps=tuned_heads $(ARGS)

sweep-words: $(READY)  ## a bag of visual words: vocabulary, descriptor, kernel, matcher, one at a time (ARGS="data=birds525 ...")
	@$(RUN) train.py -m sweeps=words $(ARGS)

sweep-labels: $(READY)  ## accuracy against labels a class, A and B2 with 1, 2, 5 and 10 labels; then `make labels`
	@$(RUN) train.py -m sweeps=labels $(ARGS)

sweep-pollution: $(READY)  ## how much do unlabelled photos of other species harm, and does a filter help?
	@$(RUN) train.py -m sweeps=pollution $(ARGS)

##@ While a sweep runs

status: $(READY)  ## the state of every run: waiting, running, finished or failed, and why (SWEEP=name)
	@$(VENV)/bin/birds status $(or $(SWEEP),last)

watch: $(READY)  ## its page, which follows the sweep until Ctrl-C (SWEEP=name)
	@$(VENV)/bin/birds watch $(or $(SWEEP),last)

seeds: $(READY)  ## which seeds experiment 1 needs next (SWEEP=name, UNTIL=ci=2: 2 points each way)
	@$(VENV)/bin/birds seeds $(or $(SWEEP),exp1) --until $(or $(UNTIL),ci=2)

##@ Results of a sweep

table: $(READY)  ## print the table of experiment 1 again (SWEEP=name for another)
	@$(VENV)/bin/birds table $(or $(SWEEP),exp1)

figures: $(READY)  ## draw all figures that the records of experiment 1 allow (SWEEP=name)
	@$(VENV)/bin/birds figures $(or $(SWEEP),exp1)

dashboard: $(READY)  ## a sweep as one HTML page that needs no network (SWEEP=name)
	@$(VENV)/bin/birds dashboard $(or $(SWEEP),exp1)

study: $(READY)  ## how a sweep's networks learned, where they err, in which layer their features are (SWEEP=name)
	@$(VENV)/bin/birds study $(or $(SWEEP),exp1)

labels: $(READY)  ## how many labels are needed, and which photos to label next (SWEEP=name, ARGS="--reach 80 --next 50")
	@$(VENV)/bin/birds labels $(or $(SWEEP),labels) $(ARGS)

latent: $(READY)  ## what encoders make of unlabelled images: t-SNE, clusters, pages (SWEEP=name, or KEYS="key key")
	@$(VENV)/bin/birds latent $(or $(KEYS),$(SWEEP),exp1)

samples: $(READY)  ## what the GANs of a sweep draw, judged by a classifier of the same images (SWEEP=name)
	@$(VENV)/bin/birds samples $(or $(SWEEP),gan)

report: $(READY)  ## the article of experiment 1 as LaTeX and PDF (SWEEP="exp1 exp2", REPORT_LANG=en, ARGS=--check)
	@$(VENV)/bin/birds report $(or $(SWEEP),exp1) --language $(or $(REPORT_LANG),es) $(ARGS)

notebooks: $(READY)  ## execute the notebooks (BUDGET=laptop for real numbers); DATA=FOLDER: of real photos, into runs/notebooks
ifdef DATA
	@mkdir -p runs/notebooks
	@cd notebooks && for name in 01_data 02_training 03_analysis; do \
	    DATA=$(abspath $(DATA)) RUNS=runs/notebook-data ../$(VENV)/bin/jupyter-execute --timeout=-1 \
	    --output=../runs/notebooks/$$name.ipynb $$name.ipynb || exit 1; done
else
	@$(VENV)/bin/jupytext --quiet --update --to ipynb notebooks/*.py
	@cd notebooks && for name in 01_data 02_training 03_analysis; do \
	    ../$(VENV)/bin/jupyter-execute --timeout=-1 --inplace $$name.ipynb || exit 1; done
endif

wandb-sync: $(READY)  ## send what was tracked offline to W&B, then build its dashboard there (SWEEP=name)
	@$(VENV)/bin/birds wandb sync $(SWEEP)
	@$(VENV)/bin/birds wandb dashboard $(or $(SWEEP),exp1)

##@ Small and fast models

quantize: $(READY)  ## the three best models of experiment 1 as ONNX, float and int8 (SWEEP=name)
	@$(VENV)/bin/birds quantize $(or $(SWEEP),exp1)

latency: $(READY)  ## time those models against the best fp32 can do (SWEEP=name)
	@$(VENV)/bin/birds latency $(or $(SWEEP),exp1)

##@ The project itself

test: $(READY)  ## format, lint, types and tests, three at a time; PYTEST="-k split" picks tests
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/pytest -n 3 --dist loadgroup --no-loadscope-reorder $(PYTEST)

test-slow: $(READY)  ## the tests that take half a minute or more, which `make test` leaves out
	@$(VENV)/bin/pytest -n 3 --dist loadgroup --no-loadscope-reorder -m slow $(PYTEST)

test-encoders:  ## test the encoders of timm, torchvision and transformers; .ci/encoders.sh installs them
	@.venv-encoders/bin/python -m pytest -n 0 tests/encoders/test_libraries.py tests/encoders/test_hub.py

format: $(READY)  ## format and fix what can be fixed
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

site: $(READY)  ## all pages as a site, in site/; a wrong link is an error
	@$(VENV)/bin/mkdocs build --strict --quiet
	@echo "Written: site/index.html"

readme-figure: $(READY)  ## README's picture, from the numbers in docs/results
	@$(VENV)/bin/birds data preview --out runs/preview.png
	@$(RUN) -m analysis.readme_figure runs/preview.png docs/readme/overview.png

readme-pictures: $(READY)  ## README's thumbnails, from a sweep on embedded birds (SWEEP=name PHOTOS=FOLDER)
	@$(RUN) docs/readme/pictures.py runs $(or $(SWEEP),exp1) $(PHOTOS)

bench: $(READY)  ## measure speed beside what the machine can do: bench/README.md's table (ARGS="training cache" for some)
	@$(RUN) -m bench $(ARGS)

bench-check: $(READY)  ## compare the ratios that hold on a busy machine with their bounds; two minutes
	@$(RUN) -m bench --check --rounds 4

bench-launch: $(READY)  ## how long launching on SLURM takes, beside the stock launcher, on a private cluster
	@$(RUN) bench/launch.py

clean:  ## remove runs and caches, keep .venv
	rm -rf runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
