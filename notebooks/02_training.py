# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training
# Experiment 1 (from scratch, frozen and fine-tuned autoencoder; two cuts) and experiment 2
# (denoising autoencoders, an untrained control), run from here.
# `BUDGET = "smoke"` takes a few minutes and its numbers mean nothing; `"laptop"` and `"full"` are the
# real sizes. Whatever is finished is not repeated, and what was interrupted goes on: run a cell
# again as often as you like.
#
# The outputs that are kept in the repository are real ones of small images: `BUDGET=laptop SPECIES=10
# SEEDS=0,1,2 OVERRIDES=image.size=64 make notebooks` (35 minutes on two cores beside other work).

# %% tags=["setup"]
import os
import sys
from pathlib import Path

if "google.colab" in sys.modules:  # a fresh machine: fetch the project, install it, go there
    REPOSITORY = os.environ.get("BIRDS_REPOSITORY", "")  # the address of its git repository
    if not Path("birds").exists():
        assert REPOSITORY, (
            "say where the project is: os.environ['BIRDS_REPOSITORY'] = 'https://...'"
        )
        get_ipython().system(f"git clone --quiet {REPOSITORY} birds")
    os.chdir("birds")
    get_ipython().system(f"{sys.executable} -m pip install --quiet -e .")
if not Path("train.py").exists():
    os.chdir("..")  # a notebook starts in its own folder
sys.path.insert(0, os.getcwd())
# %matplotlib inline
# %config InlineBackend.print_figure_kwargs = {"dpi": 72, "bbox_inches": "tight"}

# %% tags=["parameters"]
BUDGET = os.environ.get("BUDGET", "smoke")  # smoke | laptop | full
SEEDS = os.environ.get("SEEDS", "0,1")
SWEEPS = os.environ.get("SWEEPS", "exp1 exp2").split()  # exp1 always runs
RUNS = Path(os.environ.get("RUNS", "runs/notebook"))
DATA = os.environ.get("DATA", "")  # a folder of photos; empty for the embedded birds
MORE = os.environ.get("OVERRIDES", "")  # any other choice, such as encoder=unet_m
AFTER = os.environ.get("AFTER", "quantize latency latent").split()  # what follows the training
SPECIES = os.environ.get("SPECIES", 20)  # those with most training photos
TEST = os.environ.get("TEST", 20)  # training photos of each species that move to the test part
data = f"data=folder data.root={DATA}" if DATA else "data=synthetic"
data += f" data.classes={SPECIES} data.test={TEST}"
settings = f"budget={BUDGET} seed={SEEDS} runs_dir={RUNS} tracking=none {data} {MORE}"
python = sys.executable
for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(name, None)  # lines that follow each other, no table that is drawn again
print(settings)

# %% [markdown]
# ## Before it starts
# What will be run, what waits for what, and what is there already.

# %%
get_ipython().system(
    f'{python} train.py -m sweeps=exp1 dry_run=true {settings} 2>&1 | sed "s|$PWD/||g"'
)

# %% [markdown]
# ## Experiment 1
# Splits 70 and 90, variants A (from scratch), B1 (pretrained, frozen) and B2 (pretrained,
# fine-tuned). A line tells each run that is over, and once a minute how far the sweep is; the
# answer comes last.

# %%
get_ipython().system(f'{python} train.py -m sweeps=exp1 {settings} 2>&1 | sed "s|$PWD/||g"')

# %% [markdown]
# ## Experiment 2
# Split 90; shares A, B1, B2 and their pretraining with experiment 1, so only what is new is
# trained.

# %%
if "exp2" in SWEEPS:
    get_ipython().system(f'{python} train.py -m sweeps=exp2 {settings} 2>&1 | sed "s|$PWD/||g"')
else:
    print("not asked for this time: SWEEPS='exp1 exp2' runs it")

# %% [markdown]
# ## How far is it?
# The same from any terminal, while it runs: `birds status exp1`.

# %%
for sweep in SWEEPS:  # the last lines: `birds status` has one for each run
    get_ipython().system(f"{python} -m birds --runs-dir {RUNS} status {sweep} | tail -n 4")

# %%
from IPython.display import Markdown, display

from analysis.frame import sweep_frame

for sweep in SWEEPS:
    runs, missing = sweep_frame(RUNS, sweep)
    display(
        Markdown(
            f"**{sweep}**: {len(runs)} classifiers finished, {len(missing)} missing; {runs['cost_seconds'].sum():.0f} s of training without pretraining, "
            f"{runs['cost_images_per_second'].median():.0f} photos a second (median), {runs['cost_peak_memory_mb'].max():.0f} MB of memory at most."
        )
    )

# %% [markdown]
# ## How they trained

# %%
from analysis.figures import FIGURES

FIGURES["curves"](RUNS, "exp1")

# %%
FIGURES["pretraining"](RUNS, SWEEPS[-1])

# %% [markdown]
# ## Small, fast, and from the inside
# The best model as fp32 and int8, its latency in four forms, and the latent space (t-SNE and
# k-means). The next notebook shows what they found.

# %%
import subprocess
import time

commands = {
    "quantize": "quantize exp1 --best 1",
    "latency": "latency exp1 --batches 1,8 --threads 1 --seconds 2",
    "latent": "latent exp1",
}
for name in AFTER:
    started = time.perf_counter()
    words = [python, "-m", "birds", "--runs-dir", str(RUNS), *commands[name].split()]
    done = subprocess.run(words, capture_output=True, text=True)
    took = f"birds {commands[name]}: {time.perf_counter() - started:.0f} s"
    print(done.stdout + done.stderr if done.returncode else took)
