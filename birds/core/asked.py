"""Resolves choices of images that have several keys, such as `pool` and `data.unlabelled`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from birds.core.errors import UserError

USUAL_SPLIT = 90  # the default if every training image has a label; else all labels are used


def asked_test(data: Mapping[str, Any]) -> int | str:
    """Where test images come from: `move_to_test` if it is set, else `test`."""
    moved = data.get("move_to_test")
    chosen: int | str = data["test"] if moved is None else moved
    return chosen


class AskedPool(NamedTuple):
    """The requested unlabelled images (split, all_classes or a folder) and the key that set
    them.
    """

    name: str
    key: str
    pollution: int = 0


def asked_pool(config: Mapping[str, Any]) -> AskedPool:
    """The choice of `data.unlabelled`, `data.pollution` or `pool`. Raises UserError for several."""
    data = config["data"]
    folder, pollution, pool = data.get("unlabelled"), data.get("pollution"), str(config["pool"])
    keys = {"data.unlabelled": folder, "data.pollution": pollution, "pool": pool != "split"}
    chosen = [key for key, value in keys.items() if value]
    if len(chosen) > 1:
        raise UserError(
            f"{' and '.join(chosen)} both choose the unlabelled images; set only one of them"
        )
    if folder:
        return AskedPool(str(folder), "data.unlabelled")
    if pollution:
        return AskedPool("all_classes", "data.pollution", pollution)
    return AskedPool(pool, "pool")


def asked_split(config: Mapping[str, Any], *, unlabelled: bool = False) -> Any:
    """The percentage of hidden labels; `auto` hides none if there are images without a label.

    `unlabelled`: whether the data set has such images itself.
    """
    if config["split"] != "auto":
        return config["split"]
    return 0 if unlabelled or config["data"].get("unlabelled") else USUAL_SPLIT
