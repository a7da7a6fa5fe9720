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
# # Analysis
# Every table and figure of a sweep from its records, most with a reading that is computed from the
# numbers. Records come from `02_training` or from any `python train.py -m ...`: set `RUNS` and the
# names of the sweeps. At `budget=smoke` the numbers mean nothing; the readings say how sure they
# are. The section on pretrained weights shows numbers of real photos that this project keeps.

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
# %config InlineBackend.print_figure_kwargs = {"dpi": 70, "bbox_inches": "tight"}

# %% tags=["parameters"]
RUNS = Path(os.environ.get("RUNS", "runs/notebook"))
EXP1, EXP2 = "exp1", "exp2"

# %%
import pandas as pd
from IPython.display import Markdown, display

from analysis.answer import answer, caption, short_table
from analysis.closeups import (
    best_run,
    calibration_error,
    confused_pairs,
    mistakes,
    predictions,
    reliability,
)
from analysis.comparisons import compare_sweep
from analysis.figures import FIGURES, cells
from analysis.tables import as_markdown, noise_table
from analysis.variants import variant
from analysis.verdicts import sentence, verdicts
from birds.core.spec import UserError

table, runs = cells(RUNS, EXP1)
best = best_run(runs)
saved = predictions(RUNS, best["key"])
display(
    Markdown(
        f"{len(runs)} runs of experiment 1 at budget {best['choice.budget']}, data {best['data_name']} (digest {best['data_digest']}), "
        f"{best['images_test']} test photos of {len(best['classes'])} species. Where one run is looked at, it is the best by validation "
        f"accuracy: {best['variant']} {best['split']}/{100 - best['split']} seed {best['seed']} ({best['valid_accuracy']:.1%} on validation photos)."
    )
)

# %% [markdown]
# ## Experiment 1
# The table and the answer that a terminal shows, and then the table in full.

# %%
display(Markdown(short_table(table, 120)), Markdown(" ".join(caption(table, []))))
for line in answer(RUNS, EXP1, table):
    display(Markdown(f"`{line.strip()}`" if line.startswith(" ") else line))
display(Markdown(as_markdown(table)))

# %%
display(FIGURES["accuracy"](RUNS, EXP1))
for split, rows in table.groupby("split"):
    top = rows.loc[rows["accuracy"].idxmax()]
    chance = 1 / len(best["classes"])
    display(
        Markdown(
            f"At {split}/{100 - split}, the highest accuracy is that of {variant(top['variant']).named()}: "
            f"{top['accuracy']:.1%} [{top['accuracy_low']:.1%}, {top['accuracy_high']:.1%}]. Chance, {chance:.1%}, "
            f"is {'outside' if top['accuracy_low'] > chance else 'inside'} its interval."
        )
    )

# %%
FIGURES["macro_f1"](RUNS, EXP1)

# %% [markdown]
# ## Does pretraining pay?
# Paired differences on equal cut, seed and test photos; the verdicts stand on Holm's p over all
# comparisons.

# %%
comparisons = compare_sweep(RUNS, EXP1)
display(
    (
        100
        * comparisons.set_index(["split", "variant", "against"])[
            ["gap", "low", "high", "shown_from"]
        ]
    )
    .round(1)
    .dropna(axis="columns", how="all")  # one seed gives no interval
    .rename(columns={"shown_from": "smallest gap that could be shown"})
)
display(FIGURES["differences"](RUNS, EXP1))
display(Markdown("\n".join(f"- {sentence(verdict)}" for verdict in verdicts(comparisons))))

# %% [markdown]
# ## Experiment 2

# %%
try:
    second, _ = cells(RUNS, EXP2)
    display(Markdown(short_table(second, 120)))
    for line in answer(RUNS, EXP2, second):
        display(Markdown(f"`{line.strip()}`" if line.startswith(" ") else line))
    display(Markdown(as_markdown(second)))
    for name in ("accuracy", "differences", "robustness"):
        display(FIGURES[name](RUNS, EXP2))
    for noisy in (False, True):
        display(
            Markdown(
                "\n".join(
                    f"- {sentence(verdict)}"
                    for verdict in verdicts(compare_sweep(RUNS, EXP2, noisy=noisy))
                )
            )
        )
except UserError as refusal:
    print(f"Experiment 2 is not there: {refusal}; run it in 02_training, or make sweep-exp2")

# %% [markdown]
# ## Under noise

# %%
display(noise_table(table).style.hide(axis="index"))
display(FIGURES["robustness"](RUNS, EXP1))
shares = [name for name in table if name.startswith("accuracy_noise_")]
names = [f"{100 * float(share.removeprefix('accuracy_noise_')):g} %" for share in shares]
lost = 100 * (table[shares[0]] - table[shares[2]]).set_axis(
    [f"{row.variant} at {row.split}/{100 - row.split}" for row in table.itertuples()]
)
display(
    Markdown(
        f"These accuracies are of {runs['test_noise_images'].iloc[0]:.0f} of the test photos. From {names[0]} to {names[2]} of the pixels replaced, {lost.idxmin()} loses least ({lost.min():.1f} points), {lost.idxmax()} most ({lost.max():.1f})."
    )
)

# %% [markdown]
# ## What it costs

# %%
display(FIGURES["cost"](RUNS, EXP1))
minutes = (table["train_seconds"] + table["pretraining_seconds"]) / 60
display(
    Markdown(
        f"With its pretraining, which it shares, the cheapest cell, {lost.index[minutes.idxmin()]}, takes {minutes.min():.1f} minutes. The most expensive one, {lost.index[minutes.idxmax()]}, "
        f"takes {minutes.max():.1f} minutes. No classifier has more than {table['parameters'].max():,.0f} parameters."
    )
)

# %% [markdown]
# ## How they trained

# %%
display(FIGURES["curves"](RUNS, EXP1))
early = (runs["epochs"] < runs["choice.training.epochs"]).sum()
last = (runs["best_epoch"] + 1 == runs["choice.training.epochs"]).sum()
display(
    Markdown(
        f"{early} of {len(runs)} trainings stopped before their last epoch; the best epoch was the very last in {last}, which would perhaps gain from more epochs."
    )
)

# %%
FIGURES["pretraining"](RUNS, EXP1)

# %% [markdown]
# ## What it mixes up

# %%
display(FIGURES["confusion"](RUNS, EXP1))
own = runs[runs["family"] == best["family"]]
pairs = confused_pairs(sum(map(pd.DataFrame, own["test_confusion"])).to_numpy(), best["classes"])
worst = pairs.iloc[0]
display(
    Markdown(
        f"Most often {worst['true']} was taken for {worst['said']}: {worst['images']} of its photos in {len(own)} seeds, {worst['share']:.0%}."
    )
)

# %% [markdown]
# ## Does it know what it does not know?

# %%
display(FIGURES["reliability"](RUNS, EXP1))
bins = reliability(saved["logits"], saved["label"])
bias = ((bins["confidence"] - bins["accuracy"]) * bins["images"]).sum() / bins["images"].sum()
display(
    Markdown(
        f"The best run by validation ({best['variant']} {best['split']}/{100 - best['split']} seed {best['seed']}) has an expected calibration error of {calibration_error(bins):.1%} "
        f"and is on average too {'sure' if bias > 0 else 'modest'}, by {100 * abs(bias):.1f} points."
    )
)

# %%
# %config InlineBackend.figure_formats = ["jpeg"]  # photos take less space this way
display(FIGURES["errors"](RUNS, EXP1))
# %config InlineBackend.figure_formats = ["png"]
wrong = mistakes(saved["logits"], saved["label"])
display(
    Markdown(
        f"Of {len(wrong)} mistakes of this run the truth was the second guess in {(wrong['place'] == 2).mean():.0%}, and the model hesitated "
        f"(less than 10 points ahead of its second guess) in {(wrong['margin'] < 0.1).mean():.0%}."
    )
)

# %% [markdown]
# ## The study
# Bias, overfitting and whether more epochs would help, by the rules of docs/guide/study.md; the
# classes and pairs that are worst, and whether the second guess rescues.

# %%
from analysis.study import TITLES, shown_table, study

found = study(RUNS, EXP1)
display(Markdown("\n".join(f"- {said}" for said in found.sentences)))
for name, values in found.tables.items():
    head, rows = shown_table(values)
    display(
        Markdown(f"**{TITLES[name]}**"), pd.DataFrame(rows, columns=head).style.hide(axis="index")
    )
for name in ("classes", "learning"):
    display(FIGURES[name](RUNS, EXP1))

# %% [markdown]
# ## What pretraining restores
# The rows are the image, what the network is shown, what it restores, and what it restores from the
# deepest features alone, when nothing passes by the skip connections.

# %%
# %config InlineBackend.figure_formats = ["jpeg"]  # photos take less space this way
try:
    display(FIGURES["reconstructions"](RUNS, EXP2))
except UserError:
    display(FIGURES["reconstructions"](RUNS, EXP1))
# %config InlineBackend.figure_formats = ["png"]

# %% [markdown]
# ## How fast are they?
# The best model in PyTorch (eager and compiled) and in ONNX Runtime (fp32 and int8), timed in turn on
# the same cores: `birds quantize exp1` and `birds latency exp1` measure them.

# %%
from analysis.latency import as_markdown as latency_markdown
from analysis.latency import latency_table

try:
    display(Markdown(latency_markdown(latency_table(RUNS))))
    display(FIGURES["pareto"](RUNS, EXP1))
except UserError as refusal:
    display(Markdown(f"**pareto** is not there: {refusal}"))

# %% [markdown]
# ## Pretrained weights and unlabelled photos
# These numbers are not from the runs above but from real photos: 20 bird species, 60 labels (in the
# figure also 180), 100 validation and 500 test photos; `docs/results` keeps a line for each run.
# Every row is compared with the head that was best on validation photos without unlabelled ones: the
# row without a gap. Frozen networks read 224 pixels, trained ones 160 (U-Net: 128).

# %%
from matplotlib.figure import Figure

from analysis import every_way
from analysis.readme_figure import forest

overview = Figure(figsize=(7, 3.8))
forest(overview.subplots())
display(overview)
display(Markdown(every_way.table(60)))

# %% [markdown]
# ## What else can be drawn
# Figures that these records do not allow say what to run for them.

# %%
for name in ("latent", "layers", "noise", "size", "tuned"):
    try:
        display(FIGURES[name](RUNS, EXP1))
    except UserError as refusal:
        display(Markdown(f"**{name}** is not there: {refusal}"))
