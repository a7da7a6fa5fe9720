"""`birds latent` on smoke runs, from the real command line to the files, and its errors."""

import json

import numpy as np
import pytest
import torch
from road.conftest import Road

from analysis.dashboard.content import content
from analysis.figures import FIGURES
from analysis.report.facts import all_facts
from analysis.report.language import Language
from birds.core.checkpoint import read_checkpoint
from birds.core.spec import read_spec
from birds.core.store import RunFolder
from birds.data.reopen import reopened
from birds.use.latent import open_run

CLASSES = 3


def folders(road: Road) -> dict[str, RunFolder]:
    """The finished runs by variant; a pretraining has its own name."""
    return {
        record["variant"]: RunFolder(road.runs_dir, key) for key, record in road.records().items()
    }


def refuses(road: Road, *words: str) -> str:
    said = road.birds("latent", *words, status=2)
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 2
    return said


def test_from_runs_to_numbers_and_pictures(road: Road) -> None:
    road.train("split=50", "variant=DVAE", "tracking=offline")
    run = folders(road)
    before = {name: folder.record_file.read_bytes() for name, folder in run.items()}
    said = road.birds("latent", run["DVAE"].key[:6], "--perplexity", "5")
    table = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in said.splitlines()
        if line.startswith("|")
    ][2:]
    assert [row[1] for row in table] == [
        "encoder at the start",
        "pretrained (variational)",
        "its own, trained with labels",
    ]
    assert table[0][3:] != table[1][3:] != table[2][3:]
    assert {row[2] for row in table} == {"24"}
    for folder in run.values():
        found = json.loads((folder.latent / "latent.json").read_text())
        with np.load(folder.latent / "latent.npz") as saved:
            assert saved["vectors"].shape == (24, 32)
            assert saved["tsne"].shape == (24, 2)
            assert found["accuracy"] == (saved["label"] == saved["cluster"]).mean()
        assert found["untrained_nmi"] >= 0
        assert (folder.latent / "latent.png").read_bytes().startswith(b"\x89PNG")
        assert len(list((folder.latent / "clusters").glob("*.png"))) == CLASSES
        page = (folder.latent / "latent.html").read_text()
        assert page.count("/9j/") >= 24, "a JPEG for each image"
        assert 'src="http' not in page
        assert len(list(folder.tracking.glob("wandb/offline-run-*"))) == 2, (
            "the run's own, and what was added"
        )
    assert {name: folder.record_file.read_bytes() for name, folder in run.items()} == before
    vectors_are_the_means(run["variational"])

    assert "no single run 'nosuch'" in refuses(road, "nosuch")
    assert "--perplexity 30 does not suit 24 images; choose 2 to 7" in refuses(
        road, run["DVAE"].key
    )
    run["DVAE"].checkpoint("best").write_bytes(b"cut short")
    said = refuses(road, run["DVAE"].key, "--perplexity", "5")
    assert "is missing or incomplete" in said


def vectors_are_the_means(folder: RunFolder) -> None:
    """For a variational pretraining, vectors are the latent's mean over positions, for unchanged
    images.
    """
    from birds.methods.pretraining.autoencoder import Autoencoder

    spec = read_spec(folder.spec_file.read_text())
    data = reopened(folder, spec)
    method = Autoencoder(spec, 1).eval()
    checkpoint = read_checkpoint(folder.checkpoint("best"))
    assert checkpoint is not None
    method.load_state_dict(checkpoint["state_dict"])
    rows = data.rows["unlabelled"]
    image = torch.from_numpy(np.asarray(data.pixels[rows])).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        mean = method.mean(method.encoder(image)[-1]).mean((2, 3))
    torch.testing.assert_close(torch.from_numpy(open_run(folder).vectors()), mean)
    with np.load(folder.latent / "latent.npz") as saved:
        assert np.array_equal(saved["rows"], rows)
        np.testing.assert_allclose(saved["vectors"], mean.numpy(), atol=1e-5)


def test_grey_images_and_frozen_encoders(road: Road) -> None:
    """A run on grey images is shown; classifiers with a frozen encoder are replaced by its
    pretraining.
    """
    grey = ("image.size=32", "image.channels=1", "image.resize=squash")
    road.train("-m", "split=50", "variant=B1,A", *grey)
    run = folders(road)
    said = road.birds("latent", "last", "--perplexity", "5")
    assert [said.count(f"({run[name].key})") for name in ("autoencode", "A", "B1")] == [1, 1, 0]
    assert (run["A"].latent / "clusters" / "000.png").exists()
    said = road.birds("latent", run["B1"].key, "--perplexity", "5")
    assert "its own, frozen" in said
    vectors = []
    for name in ("B1", "autoencode"):
        with np.load(run[name].latent / "latent.npz") as saved:
            vectors.append(saved["vectors"])
    assert np.array_equal(*vectors), "a frozen encoder is its pretraining's"


@pytest.mark.slow
def test_a_sweep_of_heads_on_a_random_encoder_has_no_encoder_that_learned(road: Road) -> None:
    road.train("-m", "split=50", "variant=B0", "head=knn,svm")
    key = next(iter(road.records()))
    assert "no encoder of last was trained" in refuses(road, "last")
    assert "its own, frozen" in road.birds("latent", key, "--perplexity", "5")


def test_km_and_fixmatch_run_and_learn_beside_the_labels(road: Road) -> None:
    road.train("-m", "split=50", "variant=KM,FixMatch")
    run = folders(road)
    assert set(run) == {"autoencode", "KM", "FixMatch"}
    for name in ("KM", "FixMatch"):
        assert "train_beside_loss" in run[name].curves_file.read_text()
        extra_loss = json.loads(run[name].record_file.read_text())
        assert extra_loss["choice.method.options.extra_loss.name"] in ("clusters", "fixmatch")

    said = road.birds("latent", "last", "--perplexity", "5")
    assert [said.count(f"({run[name].key})") for name in run] == [1, 1, 1], (
        "a sweep's runs and their pretraining"
    )
    titles = [axis.get_title() for axis in FIGURES["latent"](road.runs_dir, "last").axes]
    agree = json.loads((run["autoencode"].latent / "latent.json").read_text())["accuracy"]
    assert titles[:2] == ["autoencode 50/50\nby true class", titles[1]]
    assert titles[1].startswith(f"by cluster: {100 * agree:.0f} % agree")
    assert len([title for title in titles if title]) == 2 * len(run)
    page = content(road.runs_dir, "last")
    assert {cloud["key"] for cloud in page["clouds"]} == {folder.key for folder in run.values()}
    assert {len(cloud["x"]) for cloud in page["clouds"]} == {24}
    [shown] = page["sheets"].values()
    assert shown["count"] == 24, "three runs of one cut share their thumbnails"
    facts = all_facts(road.runs_dir, Language("es", {"one": "last"}))
    assert facts[
        f"latent/{run['autoencode'].key}/latent_accuracy"
    ].text == f"{100 * agree:.1f}".replace(".", ",")
