"""Fair tuning: every method gets a search with the same number of trials before it is reported.

Trials are evaluated on validation images, with other seeds than the reported ones. No test image is
read before the choices are fixed. `tuning.json` in the sweep's folder records the trials and the
choices, so that a table can include the time of tuning.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from birds.core.spec import UserError
from birds.core.store import write_text
from birds.core.sweep import sweep_file
from birds.launch.search import trials

NOT_PARAMETERS = ("trial", "state", "value")
Search = Callable[[str, Sequence[str], Mapping[str, Any]], None]
Report = Callable[[Mapping[str, Sequence[str]], Sequence[Sequence[str]]], Any]


def tune_and_report(
    runs_dir: Path,
    sweep: str,
    methods: Mapping[str, Mapping[str, Any]],
    seeds: Sequence[int],
    search_seeds: Sequence[int],
    search: Search,
    report: Report,
) -> Any:
    """Search for each method's best choices, then run all methods with the reported seeds.

    Args:
        runs_dir: the folder of the runs.
        sweep: the sweep's name; the search of a method is called `SWEEP-METHOD`.
        methods: by name, the overrides of a method (`words`) and its search space (`params`).
        seeds: the reported seeds.
        search_seeds: the seeds of the trials.
        search: runs the missing trials, given the search's name, the method's words and params.
        report: runs the rest, given the chosen words by method and the words of each run.

    Raises UserError if a seed is used for both, or if a method has no finished trial.
    """
    refuse_shared_seeds(seeds, search_seeds)
    chosen: dict[str, list[str]] = {}
    told: dict[str, Any] = {}
    for name, method in methods.items():
        study = study_name(sweep, name)
        words = list(method["words"])
        search(study, words, method["params"])
        best, done = best_trial(runs_dir, study)
        chosen[" ".join(words)] = [f"{key}={value}" for key, value in best["params"].items()]
        told[name] = {"study": study, "words": words, "trials": done, **best}
        print(f"{name}: {done} trials, chosen {' '.join(chosen[' '.join(words)])}")
    _leave(tuning_file(runs_dir, sweep), {"search_seeds": list(search_seeds), "methods": told})
    jobs = []
    for method in methods.values():
        jobs += [[*method["words"], f"seed={seed}"] for seed in seeds]
    return report(chosen, jobs)


def _leave(file: Path, told: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(told, indent=1))


def study_name(sweep: str, method: str) -> str:
    """The name of the search for a method."""
    return f"{sweep}-{method}"


def refuse_shared_seeds(seeds: Sequence[int], search_seeds: Sequence[int]) -> None:
    """Raise UserError if a seed is used both for trials and for the report."""
    shared = sorted(set(seeds) & set(search_seeds))
    if shared:
        raise UserError(
            f"seed={shared[0]} is also a seed of the trials (search.seeds={list(search_seeds)}): "
            "its accuracy would be too optimistic; report other seeds"
        )
    if not seeds or not search_seeds:
        raise UserError(
            "tuning needs seeds to report (seed=0,1,2) and other seeds for trials "
            "(search.seeds=[100])"
        )


def best_trial(runs_dir: Path, study: str) -> tuple[dict[str, Any], int]:
    """The chosen parameters with their mean validation accuracy, and how many trials finished."""
    rows = trials(runs_dir, study)
    done = [row for row in rows if row["value"] is not None]
    if not done:
        raise UserError(f"no trial of {study} is finished; see birds status {study}")
    params = {name: value for name, value in done[0].items() if name not in NOT_PARAMETERS}
    return {"params": params, "valid_accuracy": done[0]["value"]}, len(done)


def tuning_file(runs_dir: Path, sweep: str) -> Path:
    """The path of the file that records trials and choices."""
    return sweep_file(runs_dir, sweep).with_name("tuning.json")


def reported_seeds(arguments: Sequence[str], usual: Sequence[int]) -> tuple[list[int], list[str]]:
    """The seeds to report, which `seed=0,1` among the arguments may name, and the other arguments.

    Raises UserError for seeds that are no numbers.
    """
    seeds = list(usual)
    others = []
    for word in arguments:
        if not word.startswith("seed="):
            others.append(word)
            continue
        values = word.partition("=")[2].split(",")
        if not all(value.strip().isdecimal() for value in values):
            raise UserError(f"{word}: give the seeds to report as numbers, as in seed=0,1,2")
        seeds = [int(value) for value in values]
    return seeds, others
