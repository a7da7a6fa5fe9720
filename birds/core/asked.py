"""What a configuration asks of its images, where several words ask for one thing."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from birds.core.errors import UserError

USUAL_SPLIT = 90  # where every training image has a label; else all labels are used


def asked_test(data: Mapping[str, Any]) -> int | str:
    """Where test images come from: `move_to_test` where it is given, else `test`."""
    moved = data.get("move_to_test")
    chosen: int | str = data["test"] if moved is None else moved
    return chosen


class AskedPool(NamedTuple):
    """Where more unlabelled images are asked for: split, all_classes or a folder; by which key."""

    name: str
    key: str
    pollution: int = 0


def asked_pool(config: Mapping[str, Any]) -> AskedPool:
    """What `data.unlabelled`, `data.pollution` or `pool` ask for. Raises UserError for several."""
    data = config["data"]
    folder, pollution, pool = data.get("unlabelled"), data.get("pollution"), str(config["pool"])
    keys = {"data.unlabelled": folder, "data.pollution": pollution, "pool": pool != "split"}
    chosen = [key for key, value in keys.items() if value]
    if len(chosen) > 1:
        raise UserError(
            f"{' and '.join(chosen)} both say which unlabelled images there are; choose one"
        )
    if folder:
        return AskedPool(str(folder), "data.unlabelled")
    if pollution:
        return AskedPool("all_classes", "data.pollution", pollution)
    return AskedPool(pool, "pool")


def asked_split(config: Mapping[str, Any], *, unlabelled: bool = False) -> Any:
    """Per cent of the labels that are hidden; `auto` hides none where images without a label are
    there already.

    `unlabelled`: whether the data set has such images of its own.
    """
    if config["split"] != "auto":
        return config["split"]
    return 0 if unlabelled or config["data"].get("unlabelled") else USUAL_SPLIT
