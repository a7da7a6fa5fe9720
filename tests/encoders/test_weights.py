"""Weights from files: the requested ones or an error message, but never random ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from birds.core.errors import UserError
from birds.core.files import find_file, identity_of
from birds.encoders._weights import identified, load_into, read_weights


class Bomb:
    """An object whose loading would write a file."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.witness, "executed")


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def saved(tmp_path: Path, weights: object) -> str:
    torch.save(weights, tmp_path / "weights.pth")
    return identified(str(tmp_path / "weights.pth"))


def test_the_key_holds_contents_and_no_path(tmp_path: Path) -> None:
    first = saved(tmp_path, network().state_dict())
    (tmp_path / "elsewhere.pth").write_bytes((tmp_path / "weights.pth").read_bytes())
    assert identified(str(tmp_path / "elsewhere.pth")) == first
    assert str(tmp_path) not in first
    assert find_file(first) == tmp_path / "elsewhere.pth"


def test_a_file_that_changed_since_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"one")
    identity = identity_of(file)
    file.write_bytes(b"other")
    with pytest.raises(UserError, match="changed since"):
        find_file(identity)


def test_weights_of_the_network_are_loaded_to_the_bit(tmp_path: Path) -> None:
    source, target = network(), network()
    weights = read_weights(saved(tmp_path, source.state_dict()))
    load_into(target, weights, left_over=(), order=False)
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name])


def test_by_order_names_do_not_matter(tmp_path: Path) -> None:
    source, target = network(), network()
    renamed = {f"x{k}": value for k, value in enumerate(source.state_dict().values())}
    load_into(target, read_weights(saved(tmp_path, renamed)), left_over=(), order=True)
    assert torch.equal(source[0].weight, target[0].weight)


@pytest.mark.parametrize("prefix", ["module.", "model.backbone."])
def test_weights_saved_as_a_part_of_something_larger_are_found(tmp_path: Path, prefix: str) -> None:
    source, target = network(), network()
    larger = {prefix + name: value for name, value in source.state_dict().items()}
    larger |= {"head.weight": torch.zeros(2), "optimizer.0.weight": torch.zeros(1)}
    load_into(target, read_weights(saved(tmp_path, larger)), left_over=(), order=False)
    assert torch.equal(source[0].weight, target[0].weight)
    del larger[f"{prefix}0.bias"]
    with pytest.raises(UserError, match=r"lacks 0\.weight"):
        load_into(network(), larger, left_over=(), order=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"0.weight": None}, "lacks 0.weight"),
        ({"2.weight": torch.zeros(1)}, "has besides 2.weight"),
        ({"0.bias": torch.zeros(5)}, r"differs 0.bias is \(5,\), wanted \(4,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: dict[str, object], words: str) -> None:
    weights = {**network().state_dict(), **change}
    given = {name: value for name, value in weights.items() if value is not None}
    target = network()
    before = target[0].weight.clone()
    with pytest.raises(UserError, match=words):
        load_into(target, given, left_over=("classifier.",), order=False)  # type: ignore[arg-type]
    assert torch.equal(before, target[0].weight)


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    witness, file = tmp_path / "witness", tmp_path / "weights.pth"
    torch.save({"0.weight": Bomb(witness)}, file)
    with pytest.raises(UserError, match="pickled objects are rejected"):
        read_weights(identified(str(file)))
    file.write_bytes(pickle.dumps(Bomb(witness)))
    with pytest.raises(UserError, match="pickled objects are rejected"):
        read_weights(identified(str(file)))
    assert not witness.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [("absent.pth", "this file does not exist"), ("weights.txt", "weights are read from")],
)
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "weights.txt").write_text("weights")
    with pytest.raises(UserError, match=words):
        identified(str(tmp_path / name))
