"""The run that a command uses: by its key or folder, or the best of a sweep."""

from pathlib import Path

from birds.core.spec import UserError
from birds.core.store import RunFolder, find_run
from birds.core.sweep import sweep_file

BY = "valid_accuracy"


def chosen_run(runs_dir: Path, name: str) -> RunFolder:
    """The run of that key or folder, or of a sweep the one of best validation accuracy.

    Of runs that differ in their seed alone the mean counts; of the best such family the best seed
    is taken. Raises UserError when there is no such run, or none is finished.
    """
    if not sweep_file(runs_dir, name).exists():
        return find_run(runs_dir, name)
    from analysis.frame import sweep_frame

    frame, missing = sweep_frame(runs_dir, name)
    if frame.empty:
        raise UserError(f"the sweep {name!r} has no finished run yet ({len(missing)} asked for)")
    ranked = frame.assign(family_mean=frame.groupby("family")[BY].transform("mean"))
    best = ranked.sort_values(["family_mean", BY, "key"], ascending=[False, False, True]).iloc[0]
    return RunFolder(runs_dir, best["key"])


def words_of(folder: RunFolder) -> str:
    """A run in a few words: its key, and what it is."""
    from birds.core.spec import read_spec

    return f"{folder.key} ({read_spec(folder.spec_file.read_text()).title})"
