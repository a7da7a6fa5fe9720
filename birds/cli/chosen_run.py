"""Finds the run that a command uses: by key, by folder, or the best run of a sweep."""

from pathlib import Path

from birds.core.spec import UserError
from birds.core.store import RunFolder, find_run
from birds.core.sweep import sweep_file

BY = "valid_accuracy"


def chosen_run(runs_dir: Path, name: str) -> RunFolder:
    """The run with this key or folder; for a sweep, the run with the best validation accuracy.

    Runs that differ only in the seed form a family. Families are ranked by their mean, and the
    best seed of the best family is returned. Raises UserError when no such run exists, or when no
    run of the sweep is finished.
    """
    if not sweep_file(runs_dir, name).exists():
        return find_run(runs_dir, name)
    from analysis.frame import sweep_frame

    frame, missing = sweep_frame(runs_dir, name)
    if frame.empty:
        raise UserError(f"the sweep {name!r} has no finished run yet ({len(missing)} requested)")
    ranked = frame.assign(family_mean=frame.groupby("family")[BY].transform("mean"))
    best = ranked.sort_values(["family_mean", BY, "key"], ascending=[False, False, True]).iloc[0]
    return RunFolder(runs_dir, best["key"])


def words_of(folder: RunFolder) -> str:
    """A short description of a run: its key and its title."""
    from birds.core.spec import read_spec

    return f"{folder.key} ({read_spec(folder.spec_file.read_text()).title})"
