"""An invalid part gives a message of one line: what was asked for, what is wrong, and where."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from composing import DIGEST, composed, spec

from birds.core.parts import FOLDERS, REQUIRED, chosen_part, part_class, part_names
from birds.core.spec import Part, UserError
from birds.data.prepare import create_source
from birds.launch.chosen import spec_from_config

Write = Callable[[str], str]
NUMBERS = itertools.count()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A function that writes a module with this text and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(text: str) -> str:
        name = f"written_part_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("written_part_"):
            del sys.modules[name]


def refused(kind: str, place: str) -> str:
    """The line that says why a part cannot be used."""
    with pytest.raises(UserError) as refusal:
        part_class(kind, place)
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "asked", "near"),
    [
        ("encoder", "unett", "unet"),
        ("head", "logistics", "logistic"),
        ("pretraining", "simcl", "simclr"),
        ("source", "foldr", "folder"),
        ("extra_loss", "fixmach", "fixmatch"),
        ("classifier", "standart", "standard"),
    ],
)
def test_an_unknown_part_is_answered_with_the_nearest(kind: str, asked: str, near: str) -> None:
    said = refused(kind, asked)
    assert f"{kind}={asked}: this {kind} does not exist; did you mean {near}?" in said
    assert f"There are: {', '.join(part_names(kind))}, or package.module:Class" in said


@pytest.mark.parametrize("kind", list(FOLDERS))
@pytest.mark.parametrize("asked", ["", "../etc", "_pooling", "__init__", "a.b", "heads", "x y"])
def test_what_is_no_name_of_a_part_is_none(kind: str, asked: str) -> None:
    assert f"this {kind} does not exist" in refused(kind, asked)


@pytest.mark.parametrize(
    ("words", "option", "owners"),
    [
        (("variant=A", "+head.kernel=rbf"), "head.kernel", "head=svm has it"),
        (("variant=B2", "+pretraining.strength=1"), "pretraining.strength", "=simclr has it"),
        (("variant=A", "+encoder.dense=5"), "encoder.dense", "encoder=simple_cnn has it"),
        (("variant=KM", "+extra_loss.threshold=0.5"), "extra_loss.threshold", "fixmatch has it"),
        (("variant=A", "+classifier.strength=1"), "strength", "pretraining=simclr has it"),
        (("variant=A", "+head.tres=1"), "head.tres", "It has: dropout"),
    ],
)
def test_an_option_of_another_part_is_answered_with_its_owner(
    words: tuple[str, ...], option: str, owners: str
) -> None:
    with pytest.raises(UserError) as refusal:
        spec(*words)
    assert option in str(refusal.value)
    assert "has no such option" in str(refusal.value)
    assert owners in str(refusal.value)


@pytest.mark.parametrize("encoder", ["unet_s", "unet_xs", "simple_cnn"])
def test_weights_asked_of_an_encoder_that_has_none_are_refused_with_who_has_some(
    encoder: str,
) -> None:
    with pytest.raises(UserError) as refusal:
        spec(f"encoder={encoder}", "image.size=128", "+encoder.weights=imagenet")
    said = str(refusal.value)
    assert f"encoder.weights: encoder={encoder} has no such option" in said
    assert "encoder=torchvision have it" in said


def test_an_option_is_never_dropped_in_silence(module: Write) -> None:
    """If a model ignored unknown options, two different requests would have one key."""
    name = module(
        "from pydantic import BaseModel\n"
        "class Loose:\n"
        "    by_gradient = False\n"
        "    class Options(BaseModel):\n"
        "        C: float = 1.0\n"
        "    def check(self): ...\n"
        "    def fit(self): ...\n"
        "    def scores(self): ...\n"
    )
    assert "has no Options, a nested class that inherits" in refused("head", f"{name}:Loose")


@pytest.mark.parametrize(
    ("text", "error", "line"),
    [
        ("x = 1\nimport no_such_library\n", "ModuleNotFoundError: No module named", 2),
        ("x = 1\n\ny = 1 / 0\n", "ZeroDivisionError: division by zero", 3),
        ("def broken(:\n    pass\n", "SyntaxError", 1),
        ("raise ValueError('first line\\nsecond line')\n", "ValueError: first line", 1),
    ],
)
def test_a_part_that_fails_to_import_says_its_own_error_and_the_line(
    module: Write, text: str, error: str, line: int
) -> None:
    name = module(text)
    said = refused("encoder", f"{name}:Net")
    assert said.startswith(f"encoder={name}:Net cannot be imported: {error}")
    assert f"{name}.py:{line})" in said


def test_a_part_inside_the_project_that_fails_to_import_says_so_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import birds.methods.classify.heads as heads

    (tmp_path / "broken.py").write_text("import no_such_library\n")
    monkeypatch.setattr(heads, "__path__", [*heads.__path__, str(tmp_path)])
    part_names.cache_clear()
    try:
        said = refused("head", "broken")
    finally:
        part_names.cache_clear()
    assert "No module named 'no_such_library'" in said
    assert str(tmp_path / "broken.py:1") in said


def test_a_module_that_is_not_there_and_a_class_that_is_not_in_it(module: Write) -> None:
    assert "No module named 'nowhere'" in refused("head", "nowhere.to:Find")
    name = module("class Other:\n    pass\n")
    said = refused("head", f"{name}:Missing")
    assert f"{name}.py has no class Missing" in said


ENCODER = """
from birds.core.spec import Choices
from birds.encoders import Encoder

class Net(Encoder):
    class Options(Choices):
        pass
"""
FITTED = """
from birds.core.spec import Choices
from birds.methods.classify.heads import FittedHead

class Head(FittedHead):
    class Options(Choices):
        pass
"""
TRAINED = """
from torch import nn
from birds.core.spec import Choices

class Head(nn.Module):
    by_gradient = True
    class Options(Choices):
        pass
    @classmethod
    def check(cls, options, classifier, spec): ...
"""
PRETRAINING = """
from birds.core.spec import Choices
from birds.methods.gradient import GradientPretraining

class Method(GradientPretraining):
    class Options(Choices):
        pass
"""
PLAIN = """
from birds.core.spec import Choices

class Thing:
    class Options(Choices):
        pass
"""
LOSS = f"{PLAIN}    learns = True\n    def check(self): ...\n"


@pytest.mark.parametrize(
    ("kind", "text", "name", "lacks"),
    [
        ("encoder", ENCODER, "Net", "forward"),
        ("encoder", PLAIN, "Thing", ", ".join(REQUIRED["encoder"])),
        ("head", FITTED, "Head", "estimator"),
        ("head", TRAINED, "Head", "forward"),
        ("head", PLAIN, "Thing", "by_gradient, check"),
        ("pretraining", PRETRAINING, "Method", "training_step"),
        ("source", PLAIN, "Thing", ", ".join(REQUIRED["source"])),
        ("extra_loss", LOSS, "Thing", "loss"),
        ("classifier", PLAIN, "Thing", ", ".join(REQUIRED["classifier"])),
    ],
)
def test_a_plug_in_that_lacks_a_method_is_told_which(
    module: Write, kind: str, text: str, name: str, lacks: str
) -> None:
    said = refused(kind, f"{module(text)}:{name}")
    assert f"{name} lacks {lacks}, which every {kind} must have" in said


def test_a_plug_in_without_options_is_told_so(module: Write) -> None:
    name = module("class Net:\n    def forward(self): ...\n")
    assert "Net has no Options" in refused("encoder", f"{name}:Net")


VECTORS = """
from birds.core.spec import Choices
from birds.encoders import Encoder
from torch import nn

class Net(Encoder):
    class Options(Choices):
        grey: bool = False

    def __init__(self, options, image):
        super().__init__()
        self.channels = image.channels
        self.feature_dim = 6
        self.layer = nn.Linear(image.channels, 6)

    @classmethod
    def check(cls, options, image):
        if options.grey and image.channels != 1:
            raise ValueError("net takes grey images; choose image.channels=1")

    def forward(self, image):
        return [self.layer(image.mean((2, 3)))]
"""


def with_encoder(name: str, *words: str, **options: Any) -> Any:
    values = composed(*words) | {"encoder": {"name": "net", "part": f"{name}:Net", **options}}
    return spec_from_config(values, DIGEST)


@pytest.mark.parametrize("pretraining", ["autoencode", "denoise", "masked", "variational"])
def test_a_pretraining_that_needs_maps_refuses_an_encoder_without(
    module: Write, pretraining: str
) -> None:
    name = module(VECTORS)
    with pytest.raises(UserError) as refusal:
        with_encoder(name, "variant=B2", f"pretraining={pretraining}")
    said = str(refusal.value)
    assert f"pretraining={pretraining} restores images from maps" in said
    assert "encoder=net has fewer than two" in said
    assert "choose pretraining=simclr" in said
    assert with_encoder(name, "variant=SimCLR").encoder.place == f"{name}:Net"


def test_an_encoder_that_cannot_take_the_channels_is_refused_with_its_cure(module: Write) -> None:
    name = module(VECTORS)
    with pytest.raises(UserError, match=r"choose image\.channels=1"):
        with_encoder(name, "variant=A", grey=True)
    assert with_encoder(name, "variant=A", "image.channels=1", grey=True).image.channels == 1


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (("encoder=unet_s", "image.size=100"), "choose image.size=96"),
        (("encoder=unet_m", "image.size=28", "image.channels=1"), "choose image.size=32"),
        (("encoder=simple_cnn", "image.size=9"), "choose image.size=16"),
        (("data=fashion_mnist",), "choose image.size=32"),
    ],
)
def test_an_encoder_that_cannot_take_the_size_names_the_nearest(
    words: tuple[str, ...], cure: str
) -> None:
    with pytest.raises(UserError, match=cure):
        spec(*words)


def test_a_value_out_of_range_is_said_as_it_is_asked_for() -> None:
    with pytest.raises(UserError, match=r"^encoder\.stem=3: "):
        spec("encoder.stem=3")
    with pytest.raises(UserError, match=r"^head\.C=-1"):
        spec("variant=B0", "head=logistic", "head.C=-1")
    with pytest.raises(UserError, match=r"^data\.source\.seed=-1"):
        chosen_part("source", {"name": "rendered", "seed": -1}, place="data.source")


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for name in ("folder", "table", "idx"):
        part = Part(name=name, options={"root": str(tmp_path / "nowhere")})
        with pytest.raises(UserError, match="nowhere"):
            create_source(part).scan()  # type: ignore[attr-defined]
