"""What the rules of the study say of each cell's best run, in the language of the article."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from analysis.cells import named_runs
from analysis.closeups import best_run
from analysis.diagnosis import Diagnosis, diagnosed
from analysis.report.language import Language, latex
from analysis.study import read_curves
from birds.core.store import RunFolder


def diagnoses(runs_dir: Path, sweep: str, language: Language) -> Iterator[tuple[str, str]]:
    """The key of each cell's best run on validation images, and a sentence on it as LaTeX."""
    runs = named_runs(runs_dir, sweep)
    for (split, cell), own in runs.groupby(["split", "cell"], sort=False):
        if own["valid_accuracy"].isna().all():
            continue
        best = best_run(own)
        found = diagnosed(best.to_dict(), read_curves(RunFolder(runs_dir, best["key"])))
        yield best["key"], _sentence(found, str(cell), f"{split}/{100 - split}", language)


def _sentence(found: Diagnosis, cell: str, cut: str, language: Language) -> str:
    words = language.words["diagnosis"]
    numbers = {"cell": latex(cell), "cut": cut, "valid": language.number(100 * found.valid, 1)}
    if found.train is None:
        return f"{words['unknown'].format(**numbers)}; {words[found.more]}."
    numbers["train"] = language.number(100 * found.train, 1)
    weakness = "bias" if found.bias else "neither"
    if found.overfits:
        weakness = "both" if found.bias else "overfits"
    said = words["accuracies"].format(**numbers)
    return f"{said}; {words[weakness]}; {words[found.more]}."
