"""Which runs of a sweep are worth shipping: the best distinct ones by a validation metric, never by
test.
"""

import sys
from pathlib import Path

import pandas as pd

from analysis.frame import sweep_frame
from birds.core.errors import nearest
from birds.core.spec import UserError
from birds.core.store import RunFolder

SMALLER_IS_BETTER = ("valid_loss", "valid_calibration_error")


def best_runs(
    runs_dir: Path, sweep: str, *, best: int = 3, by: str = "valid_accuracy"
) -> list[RunFolder]:
    """The `best` distinct models of a sweep's finished classifiers, best first; says so where there
    are fewer.

    Distinct: runs of one family differ in their seed alone; only the best of them counts. Ties go
    to the smaller key. Raises UserError when the sweep has no finished run, when `by` is no
    validation metric, or `best` is none.
    """
    if best < 1:
        raise UserError(f"--best {best}: choose how many models, 1 or more")
    if by.startswith("test"):
        raise UserError(
            f"--by {by}: models are chosen by validation, since choosing by test would spoil the test"
        )
    frame, missing = sweep_frame(runs_dir, sweep)
    if frame.empty:
        raise UserError(f"the sweep {sweep!r} has no finished run yet ({len(missing)} asked for)")
    rows = ranking(frame, by).head(best)
    shown = [
        f"{r['key']} {r['variant']} split={r['split']} seed={r['seed']}: {r[by]:.3f}"
        for _, r in rows.iterrows()
    ]
    print(f"Best by {by}: {'; '.join(shown)}", file=sys.stderr)
    if len(rows) < best:
        print(
            f"The sweep {sweep!r} has {len(rows)} distinct finished models, not {best}.",
            file=sys.stderr,
        )
    return [RunFolder(runs_dir, key) for key in rows["key"]]


def ranking(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    """The best record of each family, best first. Raises UserError when `by` is no validation metric
    of the records.
    """
    metrics = [
        c
        for c in frame.columns
        if c.startswith("valid_") and pd.api.types.is_numeric_dtype(frame[c])
    ]
    if by not in metrics:
        raise UserError(
            f"--by {by} is no validation metric{nearest(by, metrics)} There are: {', '.join(metrics)}"
        )
    ordered = frame.sort_values([by, "key"], ascending=[by in SMALLER_IS_BETTER, True])
    return ordered.drop_duplicates("family").reset_index(drop=True)
