"""Which runs of a sweep to export: the best distinct ones by a validation metric, never by a test
metric.
"""

from collections.abc import Callable

import pandas as pd

from birds.core.errors import nearest
from birds.core.spec import UserError

SMALLER_IS_BETTER = ("valid_loss", "valid_calibration_error")


def best_runs(
    frame: pd.DataFrame,
    *,
    best: int = 3,
    by: str = "valid_accuracy",
    usable: Callable[[str], bool] = lambda key: True,
) -> pd.DataFrame:
    """The records of the `best` distinct models among a sweep's finished classifiers, best first.

    Distinct: of a family, whose runs differ only in the seed, only the best run counts. Of equal
    runs the smaller key comes first. `usable` says for a key whether that run can be exported at
    all. Raises UserError when `by` is not a validation metric, or `best` is below 1.
    """
    if best < 1:
        raise UserError(f"--best {best}: choose how many models, 1 or more")
    if by.startswith("test"):
        raise UserError(
            f"--by {by}: models are chosen by validation, since choosing by test would spoil the "
            "test"
        )
    rows = ranking(frame, by)
    chosen: list[int] = []
    for place, key in enumerate(rows["key"]):
        if len(chosen) < best and usable(key):
            chosen.append(place)
    return rows.iloc[chosen]


def ranking(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """The best record of each family, best first.

    Raises UserError when `by` is not a validation metric of the records.
    """
    metrics = []
    for column in frame.columns:
        if column.startswith("valid_") and pd.api.types.is_numeric_dtype(frame[column]):
            metrics.append(column)
    if by not in metrics:
        raise UserError(
            f"--by {by} is no validation metric{nearest(by, metrics)} "
            f"There are: {', '.join(metrics)}"
        )
    ordered = frame.sort_values([by, "key"], ascending=[by in SMALLER_IS_BETTER, True])
    return ordered.drop_duplicates("family").reset_index(drop=True)
