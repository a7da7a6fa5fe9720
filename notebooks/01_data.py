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
# # The photos
# What is there before anything is trained: counts, sizes, colours, duplicates, samples, and the cut
# into labelled and unlabelled photos.
# By default these are the embedded birds, which are drawn by the project itself; `make notebooks
# DATA=FOLDER` looks at a folder of real ones.

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

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image as Picture
from IPython.display import Markdown, display

from analysis.palette import OKABE_ITO
from birds.core.parts import chosen_part
from birds.data.cache import decoded_images
from birds.data.check import as_text, check_source, span_words
from birds.data.deal import read_images
from birds.data.prepare import create_source
from birds.data.preview import contact_sheet
from birds.data.split import cut_of

RUNS = Path(os.environ.get("RUNS", "runs/notebook"))
RUNS.mkdir(parents=True, exist_ok=True)
DATA = os.environ.get("DATA", "")
SPECIES = int(os.environ.get("SPECIES", 20))  # those with most training photos
TEST = os.environ.get("TEST", "20")  # auto, or how many training photos a species gives to the test
root = Path(DATA) if DATA else RUNS / "synthetic"
kind = "folder" if DATA else "rendered"
source = create_source(chosen_part("source", {"name": kind, "root": str(root)}))

# %% [markdown]
# ## What the folder holds
# Exact duplicates have equal bytes, near ones look alike (a perceptual hash differs in three bits
# of 64 at most).

# %%
report = check_source(source)
print(as_text(report).replace(str(root.parent.resolve()), "..."))

# %% [markdown]
# ## What is used of it
# The species with most training photos; exact copies of a test photo are taken out of the training
# photos.

# %%
photos = read_images(
    source,
    RUNS / "cache",
    classes=SPECIES,
    test=TEST if TEST == "auto" else int(TEST),
    seed=0,
    skip_unreadable=True,
)
table = pd.DataFrame({"species": np.array(photos.classes)[photos.label], "part": photos.part})
counts = table.value_counts().unstack(fill_value=0)[["train", "valid", "test"]].sort_values("train")
axes = counts.plot.barh(
    stacked=True, figsize=(7, 4.6), color=OKABE_ITO[:3], width=0.8, edgecolor="white"
)
axes.set(xlabel="photos", ylabel="")
axes.tick_params(axis="y", labelsize=7)
plt.show()
display(
    Markdown(
        f"{len(photos.ids)} photos of {len(photos.classes)} species; a species has {span_words(counts['train'])} "
        f"training photos, {span_words(counts['valid'])} for validation and {span_words(counts['test'])} for the test. {photos.notes.counts()['duplicates_dropped']} copies were dropped. "
        f"The largest species has {counts['train'].max() / counts['train'].min():.1f} times the photos of the smallest, so accuracy is "
        f"reported beside macro F1, in which species weigh the same."
    )
)

# %% [markdown]
# ## Sizes

# %%
sizes = pd.Series([look.size for look in report.looks.values() if not look.error]).value_counts()
display(
    Markdown(
        f"{len(sizes)} distinct size{'s' * (len(sizes) > 1)}; {sizes.index[0][0]}x{sizes.index[0][1]} px is the most frequent, {sizes.iloc[0] / sizes.sum():.0%} of the photos. "
        "Training scales the short side to 128 px and keeps the middle."
    )
)

# %% [markdown]
# ## Samples
# A row a species: would a person tell them apart?

# %%
sheet = contact_sheet(source)
small = sheet.crop((0, 0, sheet.width, min(sheet.height, 960))).reduce(2)
small.convert("RGB").save(RUNS / "sheet.png")
Picture(RUNS / "sheet.png")

# %% [markdown]
# ## Colours
# The mean colour of each species' training photos, and how well it alone would tell species apart:
# the accuracy of the nearest mean
# colour on the test photos. What a classifier gains beyond that it owes to shape and pattern.

# %%
pixels = decoded_images(photos, RUNS / "cache", 128)
colour = np.stack(
    [pixels[k, 32:96, 32:96].mean((0, 1)) for k in range(len(photos.ids))]
)  # the middle, where the bird is
train, test = photos.rows("train"), photos.rows("test")
mean = pd.DataFrame(colour[train]).groupby(photos.label[train]).mean().to_numpy()
figure, axis = plt.subplots(figsize=(7, 1.2))
axis.imshow(mean[None].round().astype(np.uint8), aspect="auto")
axis.set_xticks(range(len(mean)), photos.classes, rotation=90, fontsize=6)
axis.set_yticks([])
axis.grid(False)
plt.show()
nearest = np.linalg.norm(colour[test, None] - mean, axis=2).argmin(1)
hits = (nearest == photos.label[test]).mean()
display(
    Markdown(
        f"The nearest mean colour is right for {hits:.1%} of the test photos; chance is {1 / len(mean):.1%}."
    )
)

# %% [markdown]
# ## The cut
# `split=70` treats 70 % of each species' training photos as unlabelled. Cuts of one seed are
# nested: who is labelled at 90/10 is labelled
# at 70/30, too. All variants of a split and seed share the cut, which is what makes their
# differences paired.

# %%
cuts = {s: cut_of(photos, split=s, seed=0) for s in (70, 90)}
rows = {
    f"{s}/{100 - s}": {"unlabelled": len(c.unlabelled), "labelled": len(c.labelled)}
    for s, c in cuts.items()
}
display(pd.DataFrame(rows).T)
few, many = set(cuts[90].labelled.tolist()), set(cuts[70].labelled.tolist())
each = np.bincount(photos.label[cuts[90].labelled])
display(
    Markdown(
        f"{len(few & many)} of the {len(few)} photos labelled at 90/10 are labelled at 70/30. At 90/10 a species has {each.min()} to "
        f'{each.max()} labelled photos: that is what "few labels" means here.'
    )
)
