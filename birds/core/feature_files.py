"""Reads and writes files of feature vectors, one row per image with its id: CSV, npz or Parquet.

CSV and Parquet have a column `id` and one column of numbers for each feature; Parquet may have one
column of lists instead. npz has the arrays `id` (N,) and `features` (N, F). Parquet needs the
package pyarrow.
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from birds.core.errors import UserError
from birds.core.home import install
from birds.core.store import write_atomically

ENDINGS = (".parquet", ".csv", ".npz")
ID = "id"
USUAL = (ID, "file", "filename", "path", "image")  # names of the column of ids, in any case


class FeatureFile(NamedTuple):
    """The ids of N images, and their feature vectors (N, F)."""

    ids: tuple[str, ...]
    features: NDArray[np.float32]


def write_features(file: Path, found: FeatureFile) -> None:
    """Write feature vectors; the file extension decides the format.

    Raises UserError for Parquet without pyarrow.
    """
    if file.suffix == ".npz":
        arrays: dict[str, Any] = {ID: np.array(found.ids), "features": found.features}
        write_atomically(file, partial(np.savez_compressed, **arrays))
        return
    import pandas as pd

    names = [f"f{k}" for k in range(found.features.shape[1])]
    frame = pd.DataFrame(found.features, columns=names)
    frame.insert(0, ID, list(found.ids))
    if file.suffix == ".csv":
        write_atomically(file, lambda out: frame.to_csv(out, index=False))
        return
    refuse_parquet_without_pyarrow(file)
    write_atomically(file, lambda out: frame.to_parquet(out, index=False))


def refuse_parquet_without_pyarrow(file: Path) -> None:
    """Raise UserError for a Parquet file if pyarrow is not installed."""
    if file.suffix != ".parquet":
        return
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UserError(
            f"{file}: Parquet needs the package pyarrow: {install('parquet')}; or "
            f"choose {file.with_suffix('.npz').name} or {file.with_suffix('.csv').name}"
        ) from None


def read_features(file: Path) -> FeatureFile:
    """The feature vectors of a file.

    Raises UserError if the file is missing or invalid, if an id is missing or occurs twice, or if a
    vector has another length or a value that is not finite.
    """
    if file.suffix not in ENDINGS:
        raise UserError(f"{file}: features are read from {', '.join(ENDINGS)} files")
    try:
        modified = file.stat().st_mtime_ns
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    return _read(file.resolve(), modified)


@lru_cache(maxsize=4)
def _read(file: Path, modified: int) -> FeatureFile:
    refuse_parquet_without_pyarrow(file)
    try:
        ids, features = _from_npz(file) if file.suffix == ".npz" else _from_table(file)
    except UserError:
        raise
    except Exception as error:  # pandas, pyarrow and zip raise anything on a broken file
        first_line = str(error).partition("\n")[0][:120]
        raise UserError(
            f"{file} cannot be read as features ({type(error).__name__}: {first_line})"
        ) from None
    return _checked(file, ids, features)


def _from_npz(file: Path) -> tuple[list[str], Any]:
    with np.load(file, allow_pickle=False) as saved:
        names = {name.lower(): name for name in saved.files}
        ids = next((saved[names[name]] for name in (*USUAL, "ids") if name in names), None)
        features = next((saved[names[n]] for n in ("features", "embeddings") if n in names), None)
    if ids is None or features is None:
        raise UserError(
            f"{file} has the arrays {', '.join(names.values()) or 'none'}; expected id (N,) and "
            "features (N, F)"
        )
    return [str(name) for name in ids], features


def _from_table(file: Path) -> tuple[list[str], Any]:
    import pandas as pd

    if file.suffix == ".csv":
        frame = pd.read_csv(file, dtype=dict.fromkeys(USUAL, str), keep_default_na=True)
    else:
        frame = pd.read_parquet(file)
    column = next((name for name in frame.columns if str(name).lower() in USUAL), None)
    if column is None:
        shown = ", ".join(map(str, frame.columns[:4]))
        raise UserError(f"{file} has no column {ID}; it has: {shown}")
    if frame.empty:
        raise UserError(f"{file} contains no vector")
    ids = ["" if value != value else str(value) for value in frame[column]]  # NaN is not itself
    rest = frame.drop(columns=column)
    is_one = file.suffix != ".csv" and rest.shape[1] == 1
    if is_one and not pd.api.types.is_numeric_dtype(rest.iloc[:, 0]):
        return ids, [np.asarray(row, np.float64).ravel() for row in rest.iloc[:, 0]]
    odd = [str(name) for name in rest.columns if not pd.api.types.is_numeric_dtype(rest[name])]
    if odd:
        raise UserError(f"{file}: the column {odd[0]} does not contain numbers; remove it")
    return ids, rest.to_numpy(np.float64)


def _checked(file: Path, ids: Sequence[str], features: Any) -> FeatureFile:
    if len(ids) != len(features):
        raise UserError(f"{file} has {len(ids)} ids and {len(features)} vectors")
    if not len(ids):
        raise UserError(f"{file} contains no vector")
    if isinstance(features, list):
        _refuse_other_length(file, ids, features)
        features = np.stack(features)
    vectors = np.asarray(features)
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise UserError(f"{file}: features have the shape {vectors.shape}; expected (N, F)")
    missing = [k for k, name in enumerate(ids) if not name]
    if missing:
        raise UserError(f"{file}: row {missing[0] + 1} has no id")
    _refuse_doubled(file, ids)
    numbers = vectors.astype(np.float32)
    odd = np.flatnonzero(~np.isfinite(numbers).all(axis=1))
    if len(odd):
        raise UserError(
            f"{file}: the vector of {ids[odd[0]]} is incomplete or not finite (so are "
            f"{len(odd) - 1} others); compute it again, or remove the row"
        )
    return FeatureFile(tuple(ids), numbers)


def _refuse_other_length(file: Path, ids: Sequence[str], features: Sequence[Any]) -> None:
    first = len(features[0])
    for name, vector in zip(ids, features, strict=True):
        if len(vector) != first:
            raise UserError(
                f"{file}: the vector of {name} has {len(vector)} numbers, that of {ids[0]} {first}"
            )


def _refuse_doubled(file: Path, ids: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise UserError(f"{file}: the id {name} occurs twice; keep one row per image")
        seen.add(name)
