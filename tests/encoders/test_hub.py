"""Models of transformers from folders and from a local server in place of the hub (make
test-encoders).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", exc_type=ImportError)
pytest.importorskip("timm", exc_type=ImportError)

from small_models import CARD, COMMIT, save_resnet, save_vit, serving

from birds.core import files
from birds.core.errors import UserError
from birds.core.files import fetch_files, forbids_commerce, known_origins
from birds.core.parts import chosen_part, options_of, part_class
from birds.core.spec import ImageChoices
from birds.encoders import create_encoder
from birds.encoders._weights import licence_in

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two folders with models, and the models themselves."""
    root = tmp_path_factory.mktemp("models")
    return {"vit": (root / "vit", save_vit(root / "vit"))} | {
        "resnet": (root / "resnet", save_resnet(root / "resnet"))
    }


def built(part: Any, size: int) -> Any:
    return create_encoder(part, ImageChoices(size=size)).eval()


def hf(folder: Path | str, **options: Any) -> Any:
    return chosen_part("encoder", {"name": "hf", "model": str(folder), **options})


def test_features_are_what_the_librarys_own_classifier_sees(models: Any) -> None:
    image = torch.rand(2, 3, 32, 32)
    for name, last in (("vit", "classifier"), ("resnet", "classifier.1")):
        folder, model = models[name]
        encoder = built(hf(folder, weights="pretrained"), 32)
        with torch.no_grad():
            logits = model.get_submodule(last)(encoder.features(image))
            expected = model(encoder.scaled(image)).logits
        assert torch.allclose(logits, expected, atol=1e-5)


def test_maps_of_a_cnn_and_none_of_a_vit(models: Any) -> None:
    resnet = built(hf(models["resnet"][0]), 64)
    assert resnet.map_strides == (4, 8, 16, 32)
    outputs = resnet(torch.rand(1, 3, 64, 64))
    assert tuple(level.shape[1] for level in resnet.maps(outputs)) == resnet.map_widths
    assert built(hf(models["vit"][0]), 32).map_widths == ()
    for name, size in (("vit", 32), ("resnet", 64)):
        encoder = built(hf(models[name][0]), size)
        groups = encoder.depth_groups()
        grouped = [id(p) for group in groups for p in group]
        assert sorted(grouped) == sorted(id(p) for p in encoder.parameters())
        assert len(groups) >= 4


def test_a_vit_takes_another_size_than_its_own(models: Any) -> None:
    part = hf(models["vit"][0], weights="pretrained")
    image = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        assert built(part, 48).features(image).shape == (1, 32)
    timm = chosen_part("encoder", {"name": "timm", "model": "vit_tiny_patch16_224"})
    assert create_encoder(timm, ImageChoices(size=64)).features(torch.rand(1, 3, 64, 64)).ndim == 2


def test_position_embeddings_of_a_file_follow_the_size(tmp_path: Path) -> None:
    import timm

    own = timm.create_model("vit_tiny_patch16_224", num_classes=3)
    torch.save({f"module.{k}": v for k, v in own.state_dict().items()}, tmp_path / "w.pth")
    options = {"name": "timm", "model": "vit_tiny_patch16_224", "weights": str(tmp_path / "w.pth")}
    encoder = built(chosen_part("encoder", options), 64)
    assert encoder.network.pos_embed.shape == (1, 17, 192)
    assert torch.equal(encoder.network.blocks[0].attn.qkv.weight, own.blocks[0].attn.qkv.weight)


def test_a_size_that_a_network_cannot_take_names_one_that_it_can() -> None:
    part = chosen_part("encoder", {"name": "timm", "model": "inception_v3"})
    with pytest.raises(UserError, match=r"inception_v3 cannot take .*choose image.size=75"):
        create_encoder(part, ImageChoices(size=64))


def test_preprocessing_is_read_from_the_model(models: Any) -> None:
    part = hf(models["resnet"][0], weights="pretrained")
    options = options_of("encoder", part)
    preferred = part_class("encoder", "hf").preferred(options)
    assert preferred == {"size": 48, "crop_pct": 0.75, "interpolation": "bicubic"}
    assert options.mean == (0.5, 0.4, 0.3)
    assert part_class("encoder", "hf").preferred(options_of("encoder", hf(models["vit"][0]))) == {
        "size": 32
    }


def test_a_finished_choice_needs_no_folder_and_holds_no_path(models: Any) -> None:
    folder, _ = models["resnet"]
    part = hf(folder, weights="pretrained")
    assert str(folder) not in part.model_dump_json()
    assert part.options["weights"].startswith("sha256:")
    assert part.options["config"]["hidden_sizes"] == [8, 16, 24, 32]
    origin = known_origins()[part.options["weights"]]
    assert origin["licence"] == "cc-by-nc-4.0"


def test_weights_of_another_model_are_refused(models: Any) -> None:
    part = hf(models["vit"][0], weights=str(models["resnet"][0]))
    with pytest.raises(UserError, match="do not fit the encoder: the file lacks"):
        built(part, 32)


def test_statistics_stay_with_weights_and_move_without(models: Any) -> None:
    folder, _ = models["resnet"]
    for options, moves in (
        ({"weights": "pretrained"}, False),
        ({"weights": "pretrained", "batchnorm": "train"}, True),
        ({}, True),
    ):
        encoder = create_encoder(hf(folder, **options), ImageChoices(size=64)).train()
        before = {name: value.clone() for name, value in encoder.named_buffers()}
        encoder.features(torch.rand(4, 3, 64, 64)).sum().backward()
        after = dict(encoder.named_buffers())
        changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
        assert bool(changed) == moves, options


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (CARD, "cc-by-nc-4.0"),
        ("no head", "unknown"),
        ("---\nlicense: mit\n---\n", "mit"),
        ("---\nlicense: other\nlicense_name: dinov3-research\n---\n", "dinov3-research"),
    ],
)
def test_the_licence_stands_in_the_head_of_the_card(card: str, licence: str) -> None:
    assert licence_in(card) == licence
    assert forbids_commerce(licence) == ("nc" in licence or "research" in licence)


@pytest.fixture
def hub(models: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub with one model, one that is gated, and an empty cache."""
    from huggingface_hub import constants

    from birds.encoders._hub import hub_text

    monkeypatch.setattr(files, "_PLACES", {})
    monkeypatch.setattr(files, "_TO_FETCH", {})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    hub_text.cache_clear()
    offered = {"birds/tiny-resnet": models["resnet"][0]}
    with serving(offered, frozenset({"birds/gated"})) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            server.address + "/{repo_id}/resolve/{revision}/{filename}",
        )
        yield server


def test_the_hub_gives_the_key_before_the_weights(hub: Any, models: Any, tmp_path: Path) -> None:
    part = hf("birds/tiny-resnet", weights="pretrained")
    assert "model.safetensors" not in hub.sent
    local = hf(models["resnet"][0], weights="pretrained")
    assert part.options["weights"] == local.options["weights"]
    files._PLACES.clear()
    part = hf("birds/tiny-resnet", weights="pretrained")
    assert known_origins()[part.options["weights"]]["revision"] == COMMIT
    fetch_files()
    assert hub.sent.count("model.safetensors") == 1
    assert built(part, 64).feature_dim == 32


def test_what_the_hub_refuses_is_said(hub: Any) -> None:
    with pytest.raises(UserError, match=r"birds/gated is gated: ask for access at"):
        hf("birds/gated", weights="pretrained")
    hf("birds/tiny-resnet")
    with pytest.raises(UserError, match=r"no model birds/tiny-resnot; did you mean birds/tiny-res"):
        hf("birds/tiny-resnot")


def test_no_network_and_no_cache_says_where_files_go(
    hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"not in the hub's cache .*hf download birds/tiny-resnet"):
        hf("birds/tiny-resnet")


def test_a_sweep_from_the_hub_downloads_once_and_says_its_licence(
    hub: Any, tmp_path: Path, write_photos: Any
) -> None:
    counts = {f"{p}/{c}": n for c in ("A", "B") for p, n in (("train", 10), ("test", 4))}
    root = write_photos(tmp_path / "photos", counts)
    asked = ["data=folder", f"data.root={root}", "encoder=hf", "encoder.model=birds/tiny-resnet"]
    asked += ["encoder.weights=pretrained", "variant=Logistic", "split=50", "tracking=none"]
    asked += [f"runs_dir={tmp_path}/runs", "robustness=false", "seed=0,1", "slots=1"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", *asked]
    env = os.environ | {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "CI": "1"}
    told = subprocess.run([*command, "dry_run=true"], env=env, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "model.safetensors" not in hub.sent
    told = subprocess.run(command, env=env, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stderr.count("cc-by-nc-4.0, forbids commercial use") == 1
    assert hub.sent.count("model.safetensors") == 1
    records = [json.loads(file.read_text()) for file in tmp_path.glob("runs/*/record.json")]
    assert len(records) == 2
    assert {record["weights_revision"] for record in records} == {COMMIT}
    assert {record["choice.image.crop_pct"] for record in records} == {0.75}
