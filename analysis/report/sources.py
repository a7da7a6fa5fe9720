"""What the article stands on: which sweep answers which experiment, and the records of its runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from analysis.frame import needed_records, refuse_mixed, sweep_frame
from analysis.pairing import pairs
from analysis.tables import sweep_table
from analysis.variants import homes
from birds.core.record import load_records
from birds.core.spec import UserError

EXPERIMENTS = {"one": "exp1", "two": "exp2"}  # the files in sweeps/ that ask each experiment


def experiment_variants(role: str) -> tuple[str, ...]:
    """The variants that an experiment asks for, as its file in `sweeps/` says.

    Raises UserError where there is no such file.
    """
    for home in homes():
        file = home / "sweeps" / f"{EXPERIMENTS[role]}.yaml"
        if file.is_file():
            asked = yaml.safe_load(file.read_text())["hydra"]["sweeper"]["params"]["variant"]
            return tuple(str(asked).split(","))
    raise UserError(
        f"sweeps/{EXPERIMENTS[role]}.yaml, which says what experiment {role} asks for, is not in "
        f"{' or '.join(map(str, homes()))}; set BIRDS_HOME to the project's folder"
    )


def experiments(runs_dir: Path, sweeps: Sequence[str]) -> dict[str, str]:
    """Which sweep answers which experiment: the second is the one with other variants than the
    first asks for.

    Raises UserError when there is no such sweep, none of its runs is finished, or two answer the
    same.
    """
    found: dict[str, str] = {}
    for sweep in sweeps:
        table, _ = sweep_table(runs_dir, sweep)
        role = "two" if set(table["variant"]) - set(experiment_variants("one")) else "one"
        if found.setdefault(role, sweep) != sweep:
            raise UserError(
                f"{found[role]} and {sweep} both answer experiment {role}: name one of them"
            )
    return dict(sorted(found.items()))


def article_records(runs_dir: Path, sweeps: Mapping[str, str]) -> pd.DataFrame:
    """The records of the sweeps' finished runs, of those that they are compared with and of the
    pretraining they stand on, each once.

    Raises UserError when they cannot be compared: recipes, data or precisions differ.
    """
    frames = [sweep_frame(runs_dir, sweep)[0] for sweep in sweeps.values()]
    runs = pd.concat(frames, ignore_index=True).drop_duplicates("key")
    compared: set[str] = set()
    for sweep in sweeps.values():
        compared.update(*(pair.keys for pair in pairs(runs_dir, sweep)))
    from_other_sweeps = load_records(runs_dir, sorted(compared - set(runs["key"])))
    runs = pd.concat([runs, from_other_sweeps], ignore_index=True)
    records = pd.concat([runs, needed_records(runs_dir, runs)], ignore_index=True)
    refuse_mixed(records)
    return records.sort_values(["stage", "key"], ignore_index=True)
