"""The preprocessing for pretrained weights: mean, spread, size, crop and interpolation.

`crop_pct` is timm's word: the side of the square that is kept, as a share of the short side of the
image. `interpolation` is how that square is resized.
"""

from collections.abc import Mapping
from typing import Any

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SPREAD = (0.229, 0.224, 0.225)
PILLOW = {2: "bilinear", 3: "bicubic"}  # by Pillow's numbers; all others become bicubic


def of_processor(processor: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """mean, spread, size, crop_pct and interpolation from preprocessor_config.json.

    Args:
        processor: the file's contents; empty if the model has none.
        config: the contents of config.json, whose `image_size` is used if `processor` has no size.
    """
    own = config.get("image_size") or 224
    asked = _side(processor.get("size")) or _side(own) or 224
    cropped = processor.get("do_center_crop", True) and _side(processor.get("crop_size"))
    shares = (processor.get("crop_pct"), cropped / asked if cropped and cropped < asked else None)
    share = next((float(share) for share in shares if share), 1.0)
    normalised = processor.get("do_normalize", bool(processor))
    return {
        "mean": tuple(processor.get("image_mean", IMAGENET_MEAN)) if normalised else (0.0,) * 3,
        "spread": tuple(processor.get("image_std", IMAGENET_SPREAD)) if normalised else (1.0,) * 3,
        "size": min(cropped, asked) if cropped else asked,
        "crop_pct": round(min(share, 1.0), 4),
        "interpolation": PILLOW.get(processor.get("resample", 2), "bicubic"),
    }


def of_timm(data: Mapping[str, Any]) -> dict[str, Any]:
    """size, crop_pct and interpolation from timm's data configuration."""
    return {
        "size": int(data["input_size"][-1]),
        "crop_pct": round(float(data["crop_pct"]), 4),
        "interpolation": data["interpolation"]
        if data["interpolation"] == "bilinear"
        else "bicubic",
    }


def of_torchvision(transforms: Any) -> dict[str, Any]:
    """size, crop_pct and interpolation from a torchvision preset, `weights.transforms()`."""
    crop, side = transforms.crop_size[0], transforms.resize_size[0]
    return {
        "size": crop,
        "crop_pct": round(min(crop / side, 1.0), 4),
        "interpolation": transforms.interpolation.value,
    }


def _side(asked: Any) -> int | None:
    """The side in pixels from a size in a file: a number, or a mapping (height, shortest edge)."""
    if isinstance(asked, Mapping):
        found = asked.get("height") or asked.get("shortest_edge")
        return int(found) if found else None
    if isinstance(asked, list | tuple):
        return int(asked[-1])
    return int(asked) if asked else None
