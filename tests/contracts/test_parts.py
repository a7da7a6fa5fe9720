"""The contract of every encoder, head and source; every file in their folders is tested."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composing import composed, options, spec
from made_parts import skipping_what_is_not_installed
from PIL import Image
from small_data import write_idx, write_striped, write_table

from birds.core.parts import chosen_part, options_of, part_class, part_names
from birds.core.spec import ImageChoices, Part, UserError
from birds.data.deal import read_images
from birds.data.decode import Look, Unreadable
from birds.data.prepare import create_source
from birds.encoders import Encoder, create_encoder, seeded_encoder, sketched_encoder
from birds.methods.classify.heads import create_head

NETWORKS = [name for name in options("encoder") if name != "features"]  # it needs a file
ENCODERS = [(name, channels) for name in NETWORKS for channels in (1, 3)]


def own_size(part: Part) -> int:
    """The smallest size, from 28 pixels on, that an encoder accepts."""
    made_by, chosen = part_class("encoder", part.place), options_of("encoder", part)
    for size in range(28, 513):
        try:
            made_by.check(chosen, ImageChoices(size=size))
        except ValueError:
            continue
        return size
    raise AssertionError(f"{part.name} takes no size up to 512 pixels")


def encoder_and_image(name: str, channels: int) -> tuple[Any, Part, ImageChoices]:
    with skipping_what_is_not_installed():
        part = chosen_part("encoder", composed(f"encoder={name}")["encoder"])
        image = ImageChoices.model_validate({"size": own_size(part), "channels": channels})
        torch.manual_seed(0)
        return create_encoder(part, image).eval(), part, image


def pixels_for(image: ImageChoices) -> torch.Tensor:
    shape = (2, image.channels, image.size, image.size)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize(("name", "channels"), ENCODERS)
def test_an_encoder_gives_the_shapes_that_it_declares(name: str, channels: int) -> None:
    encoder, _, image = encoder_and_image(name, channels)
    assert encoder.channels == channels
    with torch.no_grad():
        outputs = encoder(pixels_for(image) / 255)
    declared = zip(encoder.map_widths, encoder.map_strides, strict=True)
    shapes = [(2, width, image.size // stride, image.size // stride) for width, stride in declared]
    assert [tuple(level.shape) for level in encoder.maps(outputs)] == shapes
    assert list(encoder.map_strides) == sorted(encoder.map_strides), "the finest map comes first"
    assert all(vector.ndim == 2 for vector in outputs[len(shapes) :])
    assert encoder.pool(outputs).shape == (2, encoder.feature_dim)
    assert encoder.pool(outputs).dtype == torch.float32
    assert encoder.latent_of(outputs).ndim == 2
    assert len(encoder.layers()) == len(outputs)


@pytest.mark.parametrize(("name", "channels"), ENCODERS)
def test_an_encoder_is_exported_for_pixels_and_gives_the_same(name: str, channels: int) -> None:
    encoder, _, image = encoder_and_image(name, channels)
    pixels = pixels_for(image)
    with torch.no_grad():
        ours, theirs = encoder(pixels / 255), encoder.for_export().eval()(pixels)
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_depth_groups_hold_every_parameter_once(name: str) -> None:
    encoder, _, _ = encoder_and_image(name, 3)
    groups = encoder.depth_groups()
    grouped = [id(parameter) for group in groups for parameter in group]
    assert all(groups)
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in encoder.parameters()}


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_depends_on_no_other_and_every_weight_matters(name: str) -> None:
    encoder, _, image = encoder_and_image(name, 3)
    fractions = pixels_for(image) / 255
    with torch.no_grad():
        together, alone = encoder.features(fractions)[:1], encoder.features(fractions[:1])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    if encoder.own_size:
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        return
    weight = torch.randn(encoder.feature_dim)
    (encoder.features(fractions) * weight).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_an_encoder_is_drawn_from_the_seed_and_sketched_without_memory(name: str) -> None:
    _, part, image = encoder_and_image(name, 3)
    own_size = part_class("encoder", part.place).own_size
    about = ("variant=Words",) if own_size else ()
    words = (*about, f"encoder={name}", f"image.size={image.size}")
    first, again, other = (seeded_encoder(spec(*words, f"seed={seed}")) for seed in (0, 0, 1))
    state = first.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    assert not all(torch.equal(value, state[key]) for key, value in other.state_dict().items())
    sketch = sketched_encoder(part, image)
    assert sketch.feature_dim == first.feature_dim
    assert sketch.map_widths == first.map_widths
    if type(first).sketch.__func__ is Encoder.sketch.__func__:
        assert all(parameter.is_meta for parameter in sketch.parameters())


@pytest.mark.parametrize("size", [8, 15, 27, 30, 61, 131, 500])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_size_is_taken_or_refused_with_one_that_is_taken(name: str, size: int) -> None:
    with skipping_what_is_not_installed():
        part = chosen_part("encoder", composed(f"encoder={name}")["encoder"])
    made_by, chosen = part_class("encoder", part.place), options_of("encoder", part)
    try:
        made_by.check(chosen, ImageChoices(size=size))
    except ValueError as refusal:
        cure = str(refusal).rpartition("choose image.size=")[2]
        made_by.check(chosen, ImageChoices(size=int(cure)))
    else:
        with skipping_what_is_not_installed():
            create_encoder(part, ImageChoices(size=size)).eval()(torch.rand(1, 3, size, size))


def blobs(classes: int = 4, each: int = 25, length: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Non-negative features that separate the classes, and the labels."""
    random = torch.Generator().manual_seed(0)
    centres = 4 * torch.rand(classes, length, generator=random)
    label = torch.arange(classes).repeat(each)
    spread = torch.randn(len(label), length, generator=random)
    return (centres[label] + 0.5 * spread).clamp(min=0), label


def head_part(name: str, *words: str) -> Part:
    fitted = not part_class("head", name).by_gradient
    asked = composed(f"head={name}", *["train=head"] * fitted, *words)
    return chosen_part("head", asked["head"])


def learnt_scores(
    part: Part, features: torch.Tensor, label: torch.Tensor, classes: int, shown: torch.Tensor
) -> torch.Tensor:
    """The scores of `shown` by a head that learnt from features and labels.

    A head that learns from unlabelled features gets those of `shown`.
    """
    torch.manual_seed(0)
    head = create_head(part, features.shape[1], classes)
    if not part_class("head", part.place).by_gradient:
        reads = getattr(head, "learns_from_unlabelled", False)
        unlabelled = {"unlabelled": shown.numpy()} if reads else {}
        head.fit(features.numpy(), label.numpy(), 0, **unlabelled)
        return torch.from_numpy(head.scores(shown.numpy()))
    optimizer = torch.optim.AdamW(head.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(features), label).backward()
        optimizer.step()
    with torch.no_grad():
        scores: torch.Tensor = head.eval()(shown)
    return scores


@pytest.mark.parametrize("name", part_names("head"))
def test_a_head_beats_chance_clearly_on_separable_features(name: str) -> None:
    features, label = blobs()
    scores = learnt_scores(head_part(name), features[:48], label[:48], 4, features[48:])
    assert scores.shape == (52, 4)
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert (scores.argmax(1) == label[48:]).float().mean() > 0.9
    again = learnt_scores(head_part(name), features[:48], label[:48], 4, features[48:])
    assert torch.equal(scores, again), "the same images give another head"


@pytest.mark.parametrize("name", part_names("head"))
@pytest.mark.parametrize("classes", [2, 4])
def test_a_head_learns_from_two_labels_a_class(name: str, classes: int) -> None:
    features, label = blobs(classes)
    few = 2 * classes
    scores = learnt_scores(head_part(name), features[:few], label[:few], classes, features[few:])
    assert scores.shape == (len(features) - few, classes)
    assert (scores.argmax(1) == label[few:]).float().mean() > 0.8


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly", "intersection", "chi2"])
def test_every_kernel_of_the_support_vector_machine_beats_chance(kernel: str) -> None:
    features, label = blobs()
    part = head_part("svm", f"head.kernel={kernel}", "head.iterations=1000")
    scores = learnt_scores(part, features[:48], label[:48], 4, features[48:])
    assert (scores.argmax(1) == label[48:]).float().mean() > 0.9


def rendered(root: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """Three drawn species with a few birds each."""
    from birds.data.rendering import synthetic

    monkeypatch.setattr(synthetic, "SPECIES", list(synthetic.SPECIES)[:3])
    monkeypatch.setattr(synthetic, "train_photos", lambda species, seed=0: 4)
    return Part(name="rendered", options={"root": str(root)})


MAKERS: dict[str, Callable[[Path, pytest.MonkeyPatch], Part]] = {
    "folder": lambda root, _: Part(name="folder", options={"root": str(write_striped(root))}),
    "table": lambda root, _: Part(
        name="table", options={"root": str(write_table(root)), "file": "images.csv"}
    ),
    "idx": lambda root, _: Part(name="idx", options={"root": str(write_idx(root))}),
    "rendered": rendered,
}


def change_a_pixel(root: Path) -> None:
    """Change one pixel of one training image."""
    pictures = sorted([*root.rglob("train/*/*.png"), *root.rglob("train/*/*.jpg")])
    if pictures:
        pixels = np.array(Image.open(pictures[0]))
        pixels[5, 5] = 255 - pixels[5, 5]
        Image.fromarray(pixels).save(pictures[0])
        return
    file = root / "train-images-idx3-ubyte"
    data = bytearray(file.read_bytes())
    data[100] ^= 255
    file.write_bytes(data)


@pytest.mark.parametrize("name", part_names("source"))
def test_a_source_scans_and_decodes_and_knows_a_changed_pixel(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name not in MAKERS:
        pytest.skip(f"no small data set is known for source={name}")
    part = MAKERS[name](tmp_path / "images", monkeypatch)
    source: Any = create_source(part)
    items = source.scan().items
    assert source.scan().items == items
    assert len({item.id for item in items}) == len(items)
    assert {item.part for item in items} <= {"train", "valid", "test", None}
    assert len({item.label for item in items}) == 3
    ids = [item.id for item in items]
    assert set(source.contents(ids, None)) == set(ids)
    copy = pickle.loads(pickle.dumps(create_source(part)))
    for look in (Look(16, 3, "crop"), Look(16, 1, "squash"), Look(20, 3, "crop")):
        pixels = source.decode(ids[0], look)
        assert pixels.shape == (look.size, look.size, look.channels)
        assert pixels.dtype == np.uint8
        assert np.array_equal(copy.decode(ids[0], look), pixels), "a copy decodes otherwise"
    with pytest.raises(Unreadable):
        source.decode("no/such/image", Look(16, 3, "crop"))

    def digest(cache: str) -> str:
        read = read_images(create_source(part), tmp_path / cache, classes=3, seed=0)
        return read.digest

    before = digest("one")
    assert digest("two") == before
    change_a_pixel(tmp_path / "images")
    assert digest("three") != before


@pytest.mark.parametrize("name", ["folder", "table", "idx"])
def test_a_source_without_a_root_says_what_it_needs(name: str) -> None:
    with pytest.raises(UserError, match=r"data\.root="):
        create_source(Part(name=name))
