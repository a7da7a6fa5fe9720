"""Encoders of torchvision and timm, where the libraries are installed (make test-encoders)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("timm", exc_type=ImportError)
pytest.importorskip("torchvision", exc_type=ImportError)

from birds.core.errors import UserError
from birds.core.parts import chosen_part, options_of, part_class
from birds.core.spec import ImageChoices
from birds.encoders import create_encoder

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = [
    ("torchvision", "mobilenet_v2", 96),
    ("torchvision", "resnet18", 96),
    ("torchvision", "alexnet", 128),
    ("timm", "resnet10t", 96),
    ("timm", "mobilenetv2_100", 96),
    ("timm", "vit_tiny_patch16_224", 224),
]


def built(name: str, model: str, size: int, **options: Any) -> Any:
    part = chosen_part("encoder", {"name": name, "model": model, **options})
    return create_encoder(part, ImageChoices(size=size)).eval()


@pytest.mark.parametrize(("name", "model", "size"), NETWORKS)
def test_shapes_are_those_declared(name: str, model: str, size: int) -> None:
    encoder = built(name, model, size)
    with torch.no_grad():
        outputs = encoder(torch.rand(2, 3, size, size))
        features = encoder.pool(outputs)
    maps = encoder.maps(outputs)
    assert tuple(level.shape[1] for level in maps) == encoder.map_widths
    assert tuple(round(size / level.shape[2]) for level in maps) == encoder.map_strides
    assert features.shape == (2, encoder.feature_dim)
    grouped = [id(p) for group in encoder.depth_groups() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in encoder.parameters())


@pytest.mark.parametrize(("name", "model", "size"), NETWORKS[:2] + NETWORKS[3:5])
def test_weights_come_from_a_file_to_the_bit(
    name: str, model: str, size: int, tmp_path: Path
) -> None:
    source = built(name, model, size)
    network = getattr(source, "network", None)
    if network is None:
        from torchvision import models

        network = models.get_model(model, weights=None)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    first, second = (
        built(name, model, size, weights=str(tmp_path / "weights.pth")) for _ in range(2)
    )
    image = torch.rand(2, 3, size, size)
    with torch.no_grad():
        assert torch.equal(first.features(image), second.features(image))


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    from torchvision import models

    torch.save(models.get_model("resnet18", weights=None).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="do not fit the encoder: the file lacks"):
        built("torchvision", "mobilenet_v2", 96, weights=str(tmp_path / "w.pth"))


@pytest.mark.parametrize(("name", "near"), [("torchvision", "resnet50"), ("timm", "resnet50")])
def test_an_unknown_model_has_a_nearest_name(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"no such model.*{near}"):
        built(name, "resnet5O", 96)


@pytest.mark.parametrize(("name", "model"), [("timm", "resnet50"), ("torchvision", "resnet50")])
def test_preprocessing_comes_with_weights_that_the_library_knows(
    name: str, model: str, tmp_path: Path
) -> None:
    made_by = part_class("encoder", name)
    for asked, crop in (("model", 0.95 if name == "timm" else 0.875), ("plain", None)):
        part = chosen_part("encoder", {"name": name, "model": model, "preprocessing": asked})
        preferred = made_by.preferred(options_of("encoder", part))
        assert preferred["size"] == 224
        assert preferred.get("crop_pct") == crop
    known = made_by.settled(made_by.Options(model=model, weights="pretrained"), known=True)
    assert (known.preprocessing, known.batchnorm) == ("model", "frozen")


@pytest.fixture
def broken_pair(tmp_path: Path) -> dict[str, str]:
    """An environment whose torchvision was built for another torch, so its compiled part is
    missing.
    """
    import torchvision

    own = Path(torchvision.__file__).parent
    shutil.copytree(own, tmp_path / "torchvision", ignore=shutil.ignore_patterns("*.so", "_C*"))
    extension = tmp_path / "torchvision" / "extension.py"
    plain, _, _ = extension.read_text().partition("if not _has_ops():\n    _declared")
    extension.write_text(plain)
    return os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "birds", "doctor"],
        [str(ROOT / "train.py"), "encoder=torchvision", "dry_run=true"],
        [str(ROOT / "train.py"), "encoder=timm", "encoder.model=resnet10t", "dry_run=true"],
    ],
)
def test_a_torchvision_of_another_torch_is_recognised(
    broken_pair: dict[str, str], tmp_path: Path, words: list[str]
) -> None:
    told = subprocess.run(
        [sys.executable, *words], env=broken_pair, cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode == 2, told.stderr
    assert "torchvision does not match the installed PyTorch" in told.stdout + told.stderr
    assert "https://download.pytorch.org/whl/cpu" in told.stdout + told.stderr
    assert "Traceback" not in told.stderr


def test_frozen_features_go_the_whole_road(tmp_path: Path, write_photos: Any) -> None:
    from torchvision import models

    counts = {
        f"{part}/{name}": n for name in ("A", "B") for part, n in (("train", 10), ("test", 4))
    }
    root = write_photos(tmp_path / "photos", counts)
    torch.save(models.get_model("mobilenet_v2", weights=None).state_dict(), tmp_path / "w.pth")
    command = [sys.executable, str(ROOT / "train.py"), f"runs_dir={tmp_path}/runs"]
    command += ["data=folder", f"data.root={root}", "encoder=torchvision", "image.size=64"]
    command += [f"encoder.weights={tmp_path}/w.pth", "variant=B0", "split=50", "tracking=none"]
    for head in ("logistic", "self_training", "class_means"):
        subprocess.run([*command, f"head={head}"], check=True, env=os.environ | {"CI": "1"})
    records = [json.loads(f.read_text()) for f in tmp_path.glob("runs/*/record.json")]
    assert len(records) == 3
    assert {r["choice.encoder.options.weights"][:7] for r in records} == {"sha256:"}
    shared = list((tmp_path / "runs" / "cache").glob("features-*.npy"))
    assert len(shared) == 3 + 5  # training, validation and test images; five levels of noise
