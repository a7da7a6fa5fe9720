"""A DCGAN: sizes, steps, statistics, stopping, and the way to a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from composing import composed, needed, spec
from made_specs import runtime_in
from PIL import Image
from small_data import write_striped

from birds.core.checkpoint import read_checkpoint
from birds.core.spec import ImageChoices, Part, RunSpec, Runtime, UserError
from birds.core.store import RunFolder, Stopped
from birds.data.deal import read_images
from birds.data.prepare import create_source
from birds.launch.chosen import spec_from_config
from birds.methods import load_method
from birds.methods.generator import Generator, between
from birds.methods.pretraining.dcgan import DCGAN, unchanged_statistics
from birds.train.run import run

pytestmark = pytest.mark.filterwarnings("ignore")
WORDS = (
    "encoder=dcgan",
    "pretraining=dcgan",
    "encoder.width=4",
    "pretraining.width=4",
    "pretraining.latent=8",
    "budget=smoke",
    "robustness=false",
    "image.size=28",
    "image.channels=1",
)


def gan(*words: str) -> DCGAN:
    """A small, untrained DCGAN for grey images of 28 pixels."""
    torch.set_num_threads(1)
    return DCGAN(needed("variant=B1", "split=50", *WORDS, *words), 4)


def by_hand(method: DCGAN) -> list[torch.optim.Optimizer]:
    """Make `training_step` work without a Trainer; returns its optimizers."""
    optimizers: list[torch.optim.Optimizer] = method.configure_optimizers()
    parameters = {id(p) for group in optimizers[1].param_groups for p in group["params"]}

    def toggle(optimizer: Any) -> None:
        for parameter in method.parameters():
            parameter.requires_grad_(id(parameter) in parameters)

    free: Any = method
    free.optimizers = lambda: optimizers
    free.manual_backward = lambda loss: loss.backward()
    free.log_dict = lambda *_, **__: None
    free.toggle_optimizer = toggle
    free.untoggle_optimizer = lambda _: method.requires_grad_(True)
    return optimizers


def copied(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("size", [28, 32, 64, 128])
@pytest.mark.parametrize(("channels", "activation"), [(1, "relu"), (3, "leaky_relu")])
def test_images_of_every_size_are_fractions_and_independent(
    size: int, channels: int, activation: Any
) -> None:
    image = ImageChoices.model_validate({"size": size, "channels": channels})
    torch.manual_seed(0)
    generator = Generator(image, latent=6, width=2, activation=activation).eval()
    latent = torch.randn(3, 6)
    with torch.no_grad():
        images, alone = generator(latent), generator(latent[:1])
    assert images.shape == (3, channels, size, size)
    assert 0 <= images.min() <= images.max() <= 1
    torch.testing.assert_close(images[:1], alone, atol=1e-5, rtol=1e-4)
    kinds = {type(layer).__name__ for layer in generator.layers}
    assert ("LeakyReLU" in kinds, "ReLU" in kinds) == (activation != "relu", activation == "relu")


def test_weights_start_as_in_the_paper() -> None:
    method = gan("encoder.width=32", "pretraining.width=32")
    for module in (method.encoder.stages[1][0], method.generator.start, method.generator.layers[2]):
        assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert method.generator.layers[0].weight.mean().item() == pytest.approx(1, abs=0.02)
    assert method.generator.layers[0].bias.abs().max() == 0


def test_the_other_implementation_is_a_configuration() -> None:
    words = [word for word in WORDS if not word.endswith("=dcgan")]
    other = ("encoder=dcgan_extra", "pretraining=dcgan_leaky")
    made = DCGAN(needed("variant=B1", "split=50", *words, *other), 4)
    assert made.encoder.map_widths == (32, 4, 8)
    assert made.encoder.map_strides == (1, 2, 4)
    assert gan().encoder.map_widths == (4, 8)
    assert isinstance(made.generator.layers[1], torch.nn.LeakyReLU)
    assert isinstance(gan().generator.layers[1], torch.nn.ReLU)


@pytest.mark.parametrize("averaging", [0.0, 0.2, 0.9])
def test_samples_are_drawn_by_the_average_of_the_generator(averaging: float) -> None:
    method = gan(f"pretraining.averaging={averaging}")
    by_hand(method)
    weight, steps = method.generator.start.weight, []
    for index in range(3):
        method.training_step({"image": torch.rand(6, 1, 28, 28)}, index)
        steps.append(weight.detach().clone())
    expected = steps[0]
    for updates, step in enumerate(steps[1:], start=1):
        stays = min(averaging, (1 + updates) / (10 + updates))
        expected = stays * expected + (1 - stays) * step
    torch.testing.assert_close(method.average.module.start.weight, expected)
    latent = torch.randn(2, 8)
    with torch.no_grad():
        drawn = method.average.module.eval()(latent)
    torch.testing.assert_close(method.decode(latent), drawn)


def test_each_optimizer_moves_its_own_half_and_generated_images_leave_no_statistics() -> None:
    method = gan()
    optimizers = by_hand(method)
    image = torch.rand(8, 1, 28, 28)
    halves = (copied(method.encoder), copied(method.generator))
    with unchanged_statistics(method.encoder):
        method.discriminate(image)
    after_passing = method.encoder.state_dict()
    trackers = [name for name in after_passing if "running" in name]
    assert trackers
    assert all(torch.equal(after_passing[name], halves[0][name]) for name in trackers)

    optimizers[1].step = lambda: None  # type: ignore[method-assign, assignment]
    method.training_step({"image": image}, 0)
    weight = "stages.0.0.weight"
    assert not torch.equal(method.encoder.state_dict()[weight], halves[0][weight])
    assert torch.equal(method.generator.start.weight, halves[1]["start.weight"])
    trained = copied(method.encoder)
    expected = gan().train()
    expected.discriminate(image)
    of_real = expected.encoder.state_dict()
    assert all(torch.equal(trained[name], of_real[name]) for name in trackers)

    method = gan()
    optimizers = by_hand(method)
    optimizers[0].step = lambda: None  # type: ignore[method-assign, assignment]
    method.training_step({"image": image}, 0)
    assert torch.equal(method.encoder.state_dict()[weight], halves[0][weight])
    assert not torch.equal(method.generator.start.weight, halves[1]["start.weight"])
    assert all(parameter.requires_grad for parameter in method.parameters())


@pytest.mark.parametrize("brightness", [0.1, 0.9])
def test_what_it_draws_becomes_like_what_it_sees(brightness: float) -> None:
    method = gan("budget.gan.lr=0.005")
    by_hand(method)
    random = torch.Generator().manual_seed(0)
    for step in range(60):
        image = brightness + 0.05 * torch.randn(16, 1, 28, 28, generator=random)
        method.training_step({"image": image.clamp(0, 1)}, step)
    drawn = method.generated(20)
    assert drawn.mean().item() == pytest.approx(brightness, abs=0.2)
    assert torch.equal(drawn, method.generated(20)), "the same samples each time"
    assert not torch.equal(drawn[0], drawn[1])


def test_the_target_of_real_images_is_smoothed_alone() -> None:
    """For log odds of 0 and 2, a target of 0.7 costs log 2 and softplus(2) - 0.7 x 2."""
    from birds.methods.pretraining.dcgan import towards

    zero, two = torch.zeros(1), torch.full((1,), 2.0)
    assert towards(zero, 0.7).item() == pytest.approx(0.6931, abs=1e-4)
    assert towards(two, 0.7).item() == pytest.approx(2.1269 - 1.4, abs=1e-4)
    assert (
        needed("variant=B1", *WORDS, "pretraining.smoothing=0.3").key
        != needed("variant=B1", *WORDS).key
    )


def test_the_way_between_two_latent_vectors_keeps_their_length() -> None:
    one, other = torch.eye(2)[:1], 3 * torch.eye(2)[1:]
    way = between(one, other, 5)
    assert way.shape == (1, 5, 2)
    torch.testing.assert_close(way[:, 0], one)
    torch.testing.assert_close(way[:, -1], other, atol=1e-6, rtol=0)
    even = between(one, other / 3, 5)
    torch.testing.assert_close(even.norm(dim=2), torch.ones(1, 5))
    assert between(one, one, 3).isfinite().all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encoder=unet_xs", "image.size=48"], "makes images of 28, 32, 64 or 128 pixels"),
        (["encoder=unet_xs", "image.size=48"], "choose image.size=32"),
        (["encoder=unet_xs", "image.size=256"], "choose image.size=128"),
        (["variant=A", "image.size=30"], "encoder=dcgan takes images of"),
        (["variant=B2", "extra_loss=joint"], "pretraining=dcgan restores none"),
        (["budget.gan.warmup=0.1"], "choose budget.gan.warmup=0.0"),
        (["+budget.gan.patience=3"], "choose budget.gan.patience=null"),
        (["pretraining.activation=tanh"], "pretraining.activation=tanh"),
        (["pretraining.smoothing=0.5"], "pretraining.smoothing=0.5"),
    ],
)
def test_what_a_gan_cannot_do_is_refused_with_a_cure(words: list[str], said: str) -> None:
    keys = [word.partition("=")[0] for word in words]
    asked = [word for word in WORDS if word.partition("=")[0] not in keys]
    if "encoder=unet_xs" in words:
        asked = [word for word in asked if not word.startswith("encoder")]
    with pytest.raises(UserError, match=said.replace(".", r"\.")):
        spec("variant=B1", *asked, *words)


@pytest.fixture
def where(tmp_path: Path) -> Runtime:
    root = write_striped(tmp_path / "images", 28)
    (tmp_path / "cache").mkdir()
    return runtime_in(tmp_path, source=Part(name="folder", options={"root": str(root)}))


def asked(where: Runtime, *words: str) -> RunSpec:
    """The classifier on striped images with these words."""
    images = read_images(create_source(where.source), where.cache_dir, classes=3, seed=0)
    words = (*WORDS, "data=folder", "data.classes=3", *words)
    return spec_from_config(composed(*words), images.digest)


def test_it_draws_from_all_labels_too_and_its_pictures_are_left(where: Runtime) -> None:
    made = asked(where, "variant=B2", "split=0", "budget.gan.epochs=3")
    run(made, where)
    (pretraining,) = made.needs
    folder = RunFolder(where.runs_dir, pretraining)
    record = run(pretraining, where)
    assert (record.value("epochs"), record.value("best_epoch")) == (3, 2)
    names = [f"samples-{k:03d}.png" for k in (1, 2, 3)]
    assert sorted(file.name for file in folder.pictures.iterdir()) == [
        "interpolation.png",
        *names,
        "samples.gif",
    ]
    assert Image.open(folder.pictures / names[0]).size == (8 * 28, 8 * 28)
    assert Image.open(folder.pictures / "interpolation.png").size == (10 * 28, 8 * 28)
    assert getattr(Image.open(folder.pictures / "samples.gif"), "n_frames", 1) == 3
    columns = folder.curves_file.read_text().splitlines()[0].split(",")
    for name in ("train_loss", "discriminator_loss", "generator_loss", "D(x)", "D(G(z))"):
        assert name in columns
    one, other = (load_method(pretraining, folder) for _ in range(2))
    assert torch.equal(one.generated(5), other.generated(5))
    image = torch.rand(2, 1, 28, 28)
    assert torch.equal(one.discriminate(image), other.discriminate(image))


def test_only_unlabelled_images_are_an_option_and_need_some(where: Runtime) -> None:
    made = asked(where, "variant=B1", "split=0", "pretraining.images=unlabelled")
    with pytest.raises(UserError, match="learns from unlabelled images, and split=0"):
        run(made, where)
    all_images = asked(where, "variant=B1", "split=50").needs[0]
    fewer = asked(where, "variant=B1", "split=50", "pretraining.images=unlabelled").needs[0]
    run(all_images, where)
    run(fewer, where)
    steps = []
    for made in (all_images, fewer):
        rows = RunFolder(where.runs_dir, made).curves_file.read_text().splitlines()
        steps.append(int(rows[1].split(",")[1]))
    assert steps == [2 * 2, 2 * 1], "36 and 18 images in batches of 32, two optimizers"


def test_stopped_and_asked_again_equals_undisturbed(where: Runtime, tmp_path: Path) -> None:
    made = asked(where, "variant=B1", "split=50", "budget.gan.epochs=3").needs[0]
    run(made, where)
    elsewhere = where.model_copy(update={"runs_dir": tmp_path / "elsewhere"})
    answers = iter([False, True])
    with pytest.raises(Stopped):
        run(made, elsewhere, lambda: next(answers))
    last = read_checkpoint(RunFolder(elsewhere.runs_dir, made).checkpoint("last"))
    assert last is not None
    assert len(last["optimizer_states"]) == 2
    run(made, elsewhere)
    folders = [RunFolder(runtime.runs_dir, made) for runtime in (where, elsewhere)]
    weights = [
        (read_checkpoint(folder.checkpoint("best")) or {})["state_dict"] for folder in folders
    ]
    assert weights[0].keys() == weights[1].keys()
    assert equal(*weights)
    for name in ("samples-003.png", "samples.gif"):
        pictures = [(folder.pictures / name).read_bytes() for folder in folders]
        assert pictures[0] == pictures[1]
