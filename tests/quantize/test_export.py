"""The exported model computes what the checkpoint computes, on any number of photos of any size."""

import numpy as np
import pytest
import torch
from PIL import Image

from birds.core.store import RunFolder
from birds.data.cache import decode_photo
from birds.encoders.unet import Encoder
from birds.use.predict import load_classifier
from birds.use.quantize.export import (
    TOLERANCE,
    StridedUNet,
    checkpoint_logits,
    compared_with_checkpoint,
    resized,
)
from birds.use.quantize.models import open_model

RANDOM = np.random.default_rng(0)


def photos(count, height=128, width=128):
    return RANDOM.integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def task(trained):
    return load_classifier(RunFolder(trained.runs_dir, trained.keys[0]))[0]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_batch_predicts_what_the_checkpoint_predicts(task, models, count):
    given = photos(count)
    logits = open_model(models["fp32"], threads=1)(given)
    assert logits.shape == (count, 3)
    assert logits.dtype == np.float32
    assert np.abs(logits - checkpoint_logits(task, given)).max() < TOLERANCE


def test_a_photo_of_the_models_size_passes_unchanged():
    given = torch.from_numpy(photos(3))
    assert torch.equal(resized(given, 128), given.permute(0, 3, 1, 2).float())


def test_another_size_is_cut_and_resized_as_in_training(task, models, draw_photo, tmp_path):
    draw_photo(7, size=300).crop((0, 20, 300, 240)).save(tmp_path / "wide.png")
    wide = np.array(Image.open(tmp_path / "wide.png"))[None]
    as_trained = decode_photo(tmp_path / "wide.png", 128)[None]
    inside = resized(torch.from_numpy(wide), 128).permute(0, 2, 3, 1).numpy()
    assert np.abs(inside - as_trained).mean() < 1  # grey levels of 255: Pillow rounds to whole ones
    logits = open_model(models["fp32"], threads=1)(wide)
    assert np.abs(logits - checkpoint_logits(task, as_trained)).max() < 0.1


@pytest.mark.parametrize("stem", [1, 2, 4])
def test_the_strided_stem_is_the_same_function(stem):
    torch.manual_seed(0)
    encoder = Encoder(stem, (8, 12)).eval()
    pixels = torch.randint(0, 256, (2, 3, 64, 64)).float()
    with torch.no_grad():
        for ours, theirs in zip(StridedUNet(encoder)(pixels), encoder(pixels / 255), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-4)


def test_an_export_that_predicts_something_else_is_not_accepted(task):
    with pytest.raises(RuntimeError, match="does not predict what the checkpoint"):
        compared_with_checkpoint(
            task, lambda given: checkpoint_logits(task, given) + 0.01, photos(5)
        )


def test_the_file_holds_no_notes_of_the_exporter(models):
    import onnx

    proto = onnx.load(models["fp32"].path)
    assert [entry.key for entry in proto.metadata_props] == ["birds"]
    assert not any(node.metadata_props for node in proto.graph.node)
    weights = sum(np.prod(entry.dims) * 4 for entry in proto.graph.initializer)
    assert models["fp32"].bytes < weights + 30_000
