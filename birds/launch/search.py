"""Hyper-parameter search that can be killed and resumed: hydra-optuna-sweeper, with its study in a
file.

Trials that were running when the search died are repeated first, with the same values. Their runs
have the same keys, so finished runs are reused and killed runs continue. `n_trials` counts the
finished trials of the whole study.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from birds.core.locks import claimed
from birds.core.spec import UserError
from birds.core.store import write_text


@contextlib.contextmanager
def claimed_study(sweeper: Any) -> Iterator[None]:
    """Lock a sweeper's study while its trials run.

    Without the lock a second search would mistake running trials for interrupted ones. Raises
    UserError when another process holds the lock.
    """
    if not sweeper.storage:
        yield
        return
    folder = Path(str(sweeper.storage).removeprefix("sqlite:///")).parent
    refusal = (
        f"the search {sweeper.study_name} is running in another process: wait for it, or start "
        "another one with sweep=OTHER"
    )
    with claimed(folder / "search.lock", refusal):
        yield


def resume(sweeper: Any, arguments: Sequence[str]) -> None:
    """Resume a study: re-queue interrupted trials first, and count the finished ones as done.

    Args:
        sweeper: hydra-optuna-sweeper's implementation, before it starts.
        arguments: the overrides of the command line, which may add search parameters.

    Raises UserError when the seed is a search parameter.
    """
    asked = [f"{name}={value}" for name, value in (sweeper.params or {}).items()] + list(arguments)
    if any(re.match(r"seed=.*[^\d]", word) for word in asked):
        raise UserError(
            "the seed cannot be a search parameter: the search would pick the luckiest seed; "
            "average over seeds with search.seeds=[0,1,2]"
        )
    if not sweeper.storage:
        return
    Path(str(sweeper.storage).removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    study = _study(str(sweeper.storage), str(sweeper.study_name))
    if study is None:
        return
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state is TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # enqueue_trial is called experimental by Optuna 2
                study.enqueue_trial(trial.params)
    done = sum(trial.state is TrialState.COMPLETE for trial in trials)
    print(f"The study {sweeper.study_name} has {done} finished trials of {sweeper.n_trials}")
    if trials:
        sweeper.sampler.reseed_rng()  # or it would draw the first trials' values again
    sweeper.n_trials = max(0, sweeper.n_trials - done)


def refuse_dry_run(sweeper: Any, arguments: Sequence[str]) -> None:
    """Raise UserError for a search with `dry_run`: its trials depend on earlier results."""
    config = getattr(sweeper, "config", None)
    asked = [word.partition("=")[2].lower() for word in arguments if word.startswith("dry_run=")]
    dry = asked[-1] in ("true", "1", "yes", "on") if asked else bool(config and config.dry_run)
    if dry:
        raise UserError(
            "a search has no dry run: each trial depends on the results of earlier trials. To see "
            "one run, leave out the word sweeps=, as in python train.py variant=B2 dry_run=true"
        )


def _study(storage: str, name: str) -> Any:
    """The study in a database, or None. It contains only numbers and JSON, so no code is run."""
    import optuna

    optuna.logging.set_verbosity(30)  # warnings
    try:
        study = optuna.load_study(study_name=name, storage=storage)
        study.get_trials(deepcopy=False)
        return study
    except KeyError:
        return None
    except Exception as error:  # the file is not a database, or holds something else
        first_line = str(error).partition("\n")[0]
        raise UserError(
            f"{storage.removeprefix('sqlite:///')} cannot be read as the study of a search "
            f"({type(error).__name__}: {first_line[:100]}); move it away, or start another "
            "search with sweep=OTHER"
        ) from None


def trials(runs_dir: Path, sweep: str) -> list[dict[str, Any]]:
    """The trials of a search, best first: number, state, value (mean validation accuracy) and
    parameters.

    Raises UserError when there is no study with this name.
    """
    file = study_file(runs_dir, sweep)
    study = _study(f"sqlite:///{file}", sweep) if file.exists() else None
    if study is None:
        raise UserError(
            f"no search {sweep!r} in {runs_dir}; start one with: python train.py -m sweeps=search"
        )
    rows = [
        {"trial": t.number, "state": t.state.name.lower(), "value": t.value, **t.params}
        for t in study.get_trials(deepcopy=False)
    ]
    return sorted(rows, key=lambda row: (row["value"] is None, -(row["value"] or 0)))


def print_trials(runs_dir: Path, sweep: str) -> None:
    """Print the trials of a search as a Markdown table, and write it as CSV."""
    import pandas as pd

    table = pd.DataFrame(trials(runs_dir, sweep))
    file = runs_dir / "tables" / f"{sweep}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, table.to_csv(index=False))
    shown = table.map(lambda cell: f"{cell:.4g}" if isinstance(cell, float) else str(cell))
    lines = [list(shown.columns), ["---"] * len(shown.columns), *shown.to_numpy().tolist()]
    for cells in lines:
        print(f"| {' | '.join(cells)} |")
    print(f"\nvalue: mean validation accuracy over the seeds of a trial. Written: {file}")


def study_file(runs_dir: Path, sweep: str) -> Path:
    """The path of a search's study."""
    return runs_dir / "sweeps" / sweep / "study.db"
