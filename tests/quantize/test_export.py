"""The exported model computes what the checkpoint computes, on any number of images of any size."""

import numpy as np
import pytest
import torch
from PIL import Image

from birds.core.spec import ImageChoices, Part
from birds.core.store import RunFolder
from birds.data.decode import decode_image
from birds.encoders import Encoder, create_encoder
from birds.use.networks import load_classifier
from birds.use.quantize.export import (
    TOLERANCE,
    checkpoint_logits,
    compared_with_checkpoint,
    exported,
    resized,
)
from birds.use.quantize.models import open_file, open_model

RANDOM = np.random.default_rng(0)
CROPPED, SQUASHED = ImageChoices(size=128), ImageChoices(size=128, resize="squash")
CUT = ImageChoices(size=128, interpolation="bilinear", crop_pct=0.875)


def photos(count, height=128, width=128, channels=3):
    return RANDOM.integers(0, 256, (count, height, width, channels), dtype=np.uint8)


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


@pytest.mark.parametrize("count", [1, 5])
def test_a_grey_model_of_another_encoder_predicts_what_its_checkpoint_predicts(
    trained, grey_models, count
):
    checkpoint = load_classifier(RunFolder(trained.runs_dir, trained.grey))[0]
    given = photos(count, 28, 28, 1)
    logits = open_model(grey_models["fp32"], threads=1)(given)
    assert np.abs(logits - checkpoint_logits(checkpoint, given)).max() < TOLERANCE


@pytest.mark.parametrize("choices", [CROPPED, SQUASHED, CUT])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_of_the_models_size_passes_unchanged(choices, channels):
    given = torch.from_numpy(photos(3, channels=channels))
    assert torch.equal(resized(given, choices), given.permute(0, 3, 1, 2).float())


@pytest.mark.parametrize("choices", [CROPPED, SQUASHED, CUT])
def test_another_size_is_resized_as_in_training(choices, draw_photo, tmp_path):
    draw_photo(7, size=300).crop((0, 20, 300, 240)).save(tmp_path / "wide.png")
    wide = np.array(Image.open(tmp_path / "wide.png"))[None]
    as_trained = decode_image(tmp_path / "wide.png", **dict(choices))
    inside = resized(torch.from_numpy(wide), choices).permute(0, 2, 3, 1).numpy()
    assert (
        np.abs(inside - as_trained).mean() < 1
    )  # grey levels of 255, because Pillow rounds to whole levels


class SoftAndFlat(Encoder):
    """The means of an image over 4 x 4 cells, as one vector; it shows the input of an encoder."""

    def forward(self, image):
        return [torch.nn.functional.avg_pool2d(image, 32).flatten(1)]


def test_crop_and_interpolation_are_in_the_file(draw_photo, tmp_path):
    network = torch.nn.Module()
    network.encoder, network.head = SoftAndFlat(), torch.nn.Identity()
    (tmp_path / "cut.onnx").write_bytes(exported(network, CUT, {}))
    classify = open_file(tmp_path / "cut.onnx", 1, "fp32", CUT)
    for width, height in ((300, 220), (150, 400), (128, 128)):
        image = draw_photo(7, size=max(width, height)).crop((0, 0, width, height))
        image.save(tmp_path / "image.png")
        chosen = dict(CUT) | ({"size": None} if width == height else {})
        as_trained = decode_image(tmp_path / "image.png", **chosen)[None]
        expected = network.encoder(torch.from_numpy(as_trained).permute(0, 3, 1, 2) / 255)[0]
        assert np.abs(classify(np.array(image)[None]) - expected.numpy()).max() < 0.01


def test_the_models_cut_and_resize_by_themselves(
    trained, task, models, grey_models, draw_photo, tmp_path
):
    draw_photo(7, size=300).crop((0, 20, 300, 240)).save(tmp_path / "wide.png")
    grey = load_classifier(RunFolder(trained.runs_dir, trained.grey))[0]
    for model, checkpoint in ((models["fp32"], task), (grey_models["fp32"], grey)):
        chosen = model.image.model_dump()
        wide = decode_image(tmp_path / "wide.png", **chosen | {"size": None})[None]
        as_trained = decode_image(tmp_path / "wide.png", **chosen)[None]
        logits = open_model(model, threads=1)(wide)
        assert np.abs(logits - checkpoint_logits(checkpoint, as_trained)).max() < 0.1


@pytest.mark.parametrize("stem", [1, 2, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_exported_is_the_same_function_of_pixels(stem, channels):
    torch.manual_seed(0)
    part = Part(name="tiny", part="unet", options={"stem": stem, "widths": (8, 12)})
    encoder = create_encoder(part, ImageChoices(size=64, channels=channels)).eval()
    pixels = torch.randint(0, 256, (2, channels, 64, 64)).float()
    with torch.no_grad():
        ours, theirs = encoder.for_export()(pixels), encoder(pixels / 255)
    assert len(ours) == len(theirs) == 2
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_an_export_that_predicts_something_else_is_not_accepted(task):
    with pytest.raises(RuntimeError, match="does not predict what the checkpoint"):
        compared_with_checkpoint(
            task, lambda given: checkpoint_logits(task, given) * 1.05, photos(5)
        )
    moved = compared_with_checkpoint(
        task, lambda given: checkpoint_logits(task, given) + 7.0, photos(5)
    )
    assert moved["largest_log_probability_difference"] < 1e-5, "the probabilities are the same"


def test_the_file_holds_no_notes_of_the_exporter(models):
    import onnx

    proto = onnx.load(models["fp32"].path)
    assert [entry.key for entry in proto.metadata_props] == ["birds"]
    assert not any(node.metadata_props for node in proto.graph.node)
    weights = sum(np.prod(entry.dims) * 4 for entry in proto.graph.initializer)
    assert models["fp32"].bytes < weights + 30_000
