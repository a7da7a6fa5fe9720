"""Variants against each other on equal split, seed and test photos, and what that says of the
hypotheses.

The verdicts stand on `p_holm`, which is about the procedure: train again with other seeds, test on
other photos. The sign-flip test and McNemar's speak of the very models that were trained, so they
are smaller, and decide nothing.

The same is said of test photos under salt and pepper (`noisy`): being right about a photo is then
the share of the fractions of noise at which the run is, and the hypothesis is that it makes
classifiers robust.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from analysis import statistics
from analysis.frame import asked_runs, command, predictions, refuse_mixed
from analysis.markdown import markdown, write_table
from birds.core.record import load_records

PRETRAINING, ROBUST = "pretraining pays", "it makes robust"
HYPOTHESES = {  # any other comparison is of PRETRAINING
    ("DAE", "B2"): "salt and pepper pays",
    ("B1", "B0"): "a frozen pretrained encoder beats a frozen untrained one",
    ("B1", "A"): "a frozen pretrained encoder beats training from scratch",
    ("KM", "B2"): "clusters as further labels pay",
    ("FixMatch", "A"): "pseudo-labels pay",
}
FEWEST_SEEDS = 3
STEPS = "budget.classify.min_steps"
SENTENCES = Path(__file__).with_name("sentences.yaml")


class Pair(NamedTuple):
    """What two variants say of equal photos: `correct` is (2, S, N), the variant's and the other's,
    1 where right.

    Under noise it is a share of so many `levels`.
    """

    about: dict[str, Any]
    seeds: tuple[int, ...]
    correct: statistics.Floats
    missing: tuple[str, ...]
    levels: int = 1

    @property
    def is_crossed(self) -> bool:
        """Whether there are seeds and photos enough for an interval over both."""
        _, seeds, photos = self.correct.shape
        return seeds > 1 and photos > 1


def pairs(runs_dir: Path, sweep: str, *, noisy: bool = False) -> list[Pair]:
    """Every comparison a sweep allows: pretrained variants with A, DAE with B2, B1 with B0, where
    all else is equal.

    A variant that was not asked for or is not finished leaves a hole: fewer seeds, in the end none.
    Raises UserError when there is no such sweep, or one comparison mixes recipes, photos or
    precisions.
    """
    asked = asked_runs(runs_dir, sweep)
    records = load_records(runs_dir, list(asked["key"].unique()))
    choices = [name for name in asked if name not in ("key", "variant", "seed", "pretrained")]
    finished = set(records["key"]) if len(records) else set()
    right = cache(lambda key: _right(runs_dir, key, noisy) if key in finished else None)
    found: dict[tuple[str, ...], Pair] = {}
    for values, cell in asked.groupby(choices, sort=False):
        for variant, against in _opponents(cell):
            both = cell[cell["variant"].isin((variant, against))]
            if tuple(both["key"]) not in found:
                if len(records):
                    refuse_mixed(records[records["key"].isin(both["key"])])
                about = dict(zip(choices, values, strict=True)) | {
                    "variant": variant,
                    "against": against,
                }
                found[tuple(both["key"])] = _pair(about, both, right)
    return list(found.values())


def _opponents(cell: pd.DataFrame) -> list[tuple[str, str]]:
    """Whom each variant of a cell is compared with; A even where it was not asked for."""
    there = set(cell["variant"])
    pretrained = cell.loc[cell["pretrained"], "variant"].unique()
    return [(variant, "A") for variant in pretrained] + [
        pair for pair in HYPOTHESES if there >= set(pair)
    ]


def _right(runs_dir: Path, key: str, noisy: bool) -> pd.DataFrame | None:
    """Whether a run was right about each test photo, under noise at each fraction; None where that
    is gone.
    """
    names = (
        ("test_photo", "test_hits_noise") if noisy else ("test_photo", "test_logits", "test_label")
    )
    if (saved := predictions(runs_dir, key, *names)) is None:
        return None
    right = saved[1][:, 1:] if noisy else saved[1].argmax(1) == saved[2]
    return pd.DataFrame(right.astype(float), index=saved[0])


def _pair(about: dict[str, Any], both: pd.DataFrame, right: Any) -> Pair:
    runs = {(row.variant, row.seed): right(row.key) for row in both.itertuples()}
    sides = about["variant"], about["against"]
    asked = sorted(set(both["seed"]))
    missing = [
        f"{side} seed {seed}" for seed in asked for side in sides if runs.get((side, seed)) is None
    ]
    seeds = [seed for seed in asked if all(runs.get((side, seed)) is not None for side in sides)]
    if not seeds:
        return Pair(about, (), np.empty((2, 0, 0)), tuple(missing))
    shared = (
        pd.concat([runs[side, seed] for side in sides for seed in seeds], axis=1, join="inner")
        .to_numpy()
        .T
    )
    levels = shared.shape[0] // (2 * len(seeds))
    correct = shared.reshape(2, len(seeds), levels, shared.shape[1]).mean(2)
    return Pair(about, tuple(seeds), correct, tuple(missing), levels)


def compare_sweep(runs_dir: Path, sweep: str, *, noisy: bool = False) -> pd.DataFrame:
    """One row a comparison, in the order of `pairs`; accuracies, gaps and `shown_from` are
    fractions (0.02: 2 points).

    Columns: split, variant, against, what else was swept, seeds, photos (equal ones); accuracy,
    accuracy_against, gap with its 95 % interval low to high over seeds and photos; p of no gap and
    p_holm, adjusted for the rows of the table; p_permutation and p_mcnemar of these very models;
    effect (Cohen's h); shown_from, the smallest true gap shown four times in five; equivalent,
    whether a gap of two points is ruled out; more_seeds (nan: no number settles it); missing runs,
    and the command `run` that gives what is missing. With one seed nothing over seeds is known:
    nan. Under noise an accuracy is the mean over the fractions of noise, and `noisy` is a column.
    Raises UserError as `pairs` does.
    """
    found = pairs(runs_dir, sweep, noisy=noisy)
    family = max(sum(pair.is_crossed for pair in found), 1)
    table = pd.DataFrame([_row(pair, statistics.ALPHA / family) for pair in found])
    if found:
        table.insert(
            table.columns.get_loc("p") + 1, "p_holm", statistics.holm(table["p"].to_numpy(float))
        )
        table["run"] = [_command(runs_dir, sweep, pair) for pair in found]
    return table.assign(noisy=noisy)


def _command(runs_dir: Path, sweep: str, pair: Pair) -> str:
    """What to run so that a comparison has all it needs; nothing where it has."""
    if not pair.missing and len(pair.seeds) > 1:
        return ""
    seeds = range(FEWEST_SEEDS) if len(pair.seeds) < 2 else ()
    return command(runs_dir, sweep, seeds=seeds, variants=[pair.about["against"]])


def _row(pair: Pair, alpha: float) -> dict[str, Any]:
    row = {name: pair.about[name] for name in ("split", "variant", "against")} | pair.about
    accuracy, against = pair.correct.mean((1, 2)) if pair.correct.size else (np.nan, np.nan)
    row |= {"seeds": len(pair.seeds), "photos": pair.correct.shape[2]}
    row |= {"accuracy": accuracy, "accuracy_against": against, "gap": accuracy - against}
    row |= (
        _over_seeds(pair, alpha) if pair.is_crossed else dict.fromkeys(("low", "high", "p"), np.nan)
    )
    votes = np.rint(pair.levels * np.subtract(*pair.correct).sum(0)).astype(int)
    row["p_permutation"] = statistics.sign_flip(votes) if pair.seeds else np.nan
    row["p_mcnemar"] = (
        statistics.mcnemar(int((votes > 0).sum()), int((votes < 0).sum())) if pair.seeds else np.nan
    )
    row["effect"] = statistics.cohens_h(accuracy, against)
    more = {
        "shown_from": np.nan,
        "equivalent": False,
        "more_seeds": float(FEWEST_SEEDS - len(pair.seeds)) if len(pair.seeds) < 2 else np.nan,
    }
    return (
        row
        | {name: row.pop(name, other) for name, other in more.items()}
        | {"missing": ", ".join(pair.missing)}
    )


def _over_seeds(pair: Pair, alpha: float) -> dict[str, Any]:
    gap = statistics.crossed(np.subtract(*pair.correct))
    half, more = float(gap.half_width()), statistics.more_seeds(gap, alpha)
    return {
        "low": max(float(gap.mean) - half, -1.0),
        "high": min(float(gap.mean) + half, 1.0),
        "p": float(gap.p_value()),
        "shown_from": float(statistics.shown_from(gap, alpha)),
        "equivalent": bool(statistics.equivalent(gap)),
        "more_seeds": np.nan if more is None else float(more),
    }


class Verdict(NamedTuple):
    """What a comparison says of its hypothesis. gap, low and high are fractions; nan where they are
    not known.
    """

    hypothesis: str
    word: str
    gap: float
    low: float
    high: float
    more_seeds: int | None
    variant: str = ""
    against: str = ""
    where: str = ""
    seeds: int = 0
    photos: int = 0
    p: float = np.nan
    equivalent: bool = False
    run: str = ""


def verdicts(comparisons: pd.DataFrame) -> list[Verdict]:
    """A verdict a row: supported or refuted where the gap is shown (Holm's p at most 5 %), else
    cannot tell.

    A gap that is not shown, but shown to be smaller than two points either way, refutes as well: it
    does not pay.
    """
    return [_verdict(row) for row in comparisons.to_dict("records")]


def place(choices: dict[str, Any]) -> str:
    """Where a comparison stands, in a few words: the split, and what else was swept."""
    split, *swept = choices.items()
    return " ".join([f"{split[1]}/{100 - split[1]}", *(f"{name}={value}" for name, value in swept)])


def _verdict(row: dict[str, Any]) -> Verdict:
    shown = row["p_holm"] <= statistics.ALPHA
    word = (
        "supported"
        if shown and row["gap"] > 0
        else "refuted"
        if shown or row["equivalent"]
        else "cannot tell"
    )
    columns = list(row)
    swept = columns[columns.index("against") + 1 : columns.index("seeds")]
    return Verdict(
        hypothesis=ROBUST
        if row["noisy"]
        else HYPOTHESES.get((row["variant"], row["against"]), PRETRAINING),
        word=word,
        more_seeds=int(row["more_seeds"])
        if word == "cannot tell" and np.isfinite(row["more_seeds"])
        else None,
        where=place({name: row[name] for name in ("split", *swept)}),
        p=row["p_holm"],
        equivalent=not shown and row["equivalent"],
        **{
            name: row[name]
            for name in ("gap", "low", "high", "variant", "against", "seeds", "photos", "run")
        },
    )


def sentence(verdict: Verdict, language: str = "en") -> str:
    """A verdict for people, built from its numbers, in English (`en`) or Spanish (`es`)."""
    words = yaml.safe_load(SENTENCES.read_text())[language]
    numbers = verdict._asdict() | {
        "by": f"{100 * abs(verdict.gap):.1f}",
        "gap": f"{100 * verdict.gap:+.1f}",
        "low": f"{100 * verdict.low:+.1f}",
        "high": f"{100 * verdict.high:+.1f}",
        "p": _p(verdict.p, "= "),
        "margin": f"{100 * statistics.MARGIN:g}",
    }
    numbers = {name: str(value).replace(".", words["point"]) for name, value in numbers.items()}
    evidence = words["evidence"].format(**numbers)
    return f"{words[verdict.hypothesis][verdict.word]}: {words[_case(verdict)].format(**numbers, evidence=evidence)}"


def _case(verdict: Verdict) -> str:
    """Which sentence fits: what was shown, or why nothing can be."""
    if verdict.word != "cannot tell":
        return "within" if verdict.equivalent else "above" if verdict.gap > 0 else "below"
    if verdict.seeds < 2:
        return "one seed" if verdict.seeds else "no seed"
    if verdict.photos < 2:
        return "one photo"
    return "few photos" if verdict.more_seeds is None else "few seeds"


def _p(p: float, equals: str = "") -> str:
    return "" if np.isnan(p) else "< 0.001" if p < 0.001 else f"{equals}{p:.3f}"


UNDER_NOISE = (
    "Under salt and pepper on the test photos, mean over the fractions of pixels replaced:\n\n"
)
NOTE = """\
Gap: in points, with its 95 % interval over seeds and test photos. p: of no gap when trained and tested again, adjusted
for the whole table (Holm). Of the trained models alone: p flip (sign flips) and p McNemar. h: Cohen's effect size.
Shown from: the smallest true gap that this many seeds and photos show four times in five.
Same: it is shown to be within two points."""


def as_markdown(table: pd.DataFrame) -> str:
    """The comparisons for people, then the sentences, then the commands that fill holes."""
    columns = list(table.columns)
    swept = columns[columns.index("against") + 1 : columns.index("seeds")]
    head = [
        "split",
        "variant",
        "against",
        *swept,
        "seeds",
        "gap",
        "p",
        "p flip",
        "p McNemar",
        "h",
        "shown from",
        "same",
    ]
    found = verdicts(table)
    said = [f"- {sentence(verdict)}" for verdict in found]
    if STEPS not in swept and any(one.word == "supported" and one.against == "A" for one in found):
        said.append(
            f"- A gain over A can be a head start: ask again with {STEPS}=20,80,160, as make sweep-steps does."
        )
    holes = table[table["run"] != ""].groupby("run")["missing"].agg(_distinct)
    fill = [
        f"{f'Missing: {missing}' if missing else 'For an interval'}; run: {run}"
        for run, missing in holes.items()
    ]
    return "\n\n".join(
        [
            markdown(head, [_shown(row, swept) for row in table.to_dict("records")]),
            NOTE,
            "\n".join(said + fill),
        ]
    )


def _distinct(lists: pd.Series) -> str:
    return ", ".join(dict.fromkeys(", ".join(filter(None, lists)).split(", ")))


def _shown(row: dict[str, Any], swept: list[str]) -> list[str]:
    gap, low, high, shown_from = (100 * row[name] for name in ("gap", "low", "high", "shown_from"))
    return [
        f"{row['split']}/{100 - row['split']}",
        *(str(row[name]) for name in ("variant", "against", *swept, "seeds")),
        ""
        if np.isnan(gap)
        else f"{gap:+.1f}"
        if np.isnan(low)
        else f"{gap:+.1f} [{low:+.1f}, {high:+.1f}]",
        *(_p(row[name]) for name in ("p_holm", "p_permutation", "p_mcnemar")),
        "" if np.isnan(gap) else f"{row['effect']:+.2f}",
        "" if np.isnan(shown_from) else f"{shown_from:.1f}",
        "yes" if row["equivalent"] else "",
    ]


def print_comparisons(runs_dir: Path, sweep: str, written_as: str | None = None) -> None:
    """Print a sweep's comparisons and verdicts, those under noise too, and write them under
    `tables/`, named `written_as` or after the sweep.

    Nothing where it allows none. Raises UserError as `pairs` does.
    """
    for end, noisy in (("", False), ("-noise", True)):
        table = compare_sweep(runs_dir, sweep, noisy=noisy)
        if len(table) and (table["seeds"].any() or not noisy):
            text, stem = (
                f"{UNDER_NOISE * noisy}{as_markdown(table)}",
                runs_dir / "tables" / f"{written_as or sweep}{end}_comparisons",
            )
            print(
                f"\n{text}\nWritten: {write_table(stem, text, table.drop(columns='noisy').to_csv(index=False))}"
            )
