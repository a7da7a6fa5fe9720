"""What the article may say: each value as a text with the runs it stands on, under the name that
the templates use.

`one/90/B2/accuracy` is experiment one, split 90, variant B2; `few` and `many` in place of a split
are the ones with the fewest and the most labels. Values come from the tables and statistics of
`analysis`; here they are only named and put into words.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from analysis import statistics
from analysis.comparisons import compare_sweep
from analysis.figures import cells
from analysis.frame import MEANINGLESS, command, short, sweep_frame
from analysis.intervals import LEVEL
from analysis.latency import CELL, CROWD, latency_table
from analysis.report.diagnosis import diagnoses
from analysis.report.language import MINUS, Language, latex, reading, typed
from analysis.report.sources import article_records, experiment_variants
from analysis.variants import WORDS
from analysis.verdicts import opponent, sentence, verdicts
from birds.core.spec import UserError
from birds.core.store import RunFolder


class Fact(NamedTuple):
    """A text in LaTeX, the keys of the runs it comes from, and how many test images each was
    measured on.
    """

    text: str
    keys: tuple[str, ...] = ()
    images: int = 0


Facts = dict[str, Fact]
OWN_DATA = ("folder", "table", "idx")  # data sets that are called by their folder


def all_facts(runs_dir: Path, language: Language) -> Facts:
    """Every value that the records of the language's sweeps give."""
    records = article_records(runs_dir, language.sweeps)
    facts = dict(_study(records, language))
    facts |= _named("pretrain", _restored(records), ("split", "pretraining"), language)
    for role, sweep in language.sweeps.items():
        rows = _cells(runs_dir, role, sweep, language)
        facts |= _named(role, rows, ("split", "variant"), language)
        for alias, split in (("few", rows["split"].max()), ("many", rows["split"].min())):
            own = rows[rows["split"] == split].assign(alias=alias)
            facts |= _named(role, own, ("alias", "variant"), language)
            shared = own[["split", "labelled", "unlabelled"]].max()
            facts |= {
                f"{role}/{alias}/{column}": Fact(language.shown(shared, column))
                for column in shared.index
            }
        facts |= _named(role, _compared(runs_dir, sweep), ("split", "variant", "against"), language)
        facts |= _sentences(runs_dir, role, sweep, language)
    facts |= _diagnosed(runs_dir, language)
    raced = _raced(runs_dir, records)
    facts |= _named("latency", raced, ("key", "model"), language) | dict(
        _race(raced, language) if len(raced) else ()
    )
    return facts | _named("latent", _latent(runs_dir, records), ("key",), language)


def _diagnosed(runs_dir: Path, language: Language) -> Facts:
    """The sentences of the study on the first sweep; nothing where none of its runs can be told."""
    sweep = next(iter(language.sweeps.values()))
    found = dict(diagnoses(runs_dir, sweep, language))
    return {"diagnosis/list": Fact(_listed(list(found.values())), tuple(found))} if found else {}


def _named(part: str, rows: pd.DataFrame, names: Sequence[str], language: Language) -> Facts:
    """A fact for every value of the rows that has a style, named by `part`, the columns `names` and
    its own.
    """
    facts: Facts = {}
    for row in rows.to_dict("records"):
        name = "/".join([part, *(str(row[column]) for column in names)])
        columns = [column for column in reading()["styles"] if column in row]
        facts |= {
            f"{name}/{c}": Fact(language.shown(row, c), row["keys"], row["images"]) for c in columns
        }
    return facts


def _study(records: pd.DataFrame, language: Language) -> Iterator[tuple[str, Fact]]:
    """What all runs of a kind share; where they differ, each value that there is."""
    classify = records[records["stage"] == "classify"]
    what_is_trained = classify.get("choice.method.options.train", pd.Series(index=classify.index))
    trained = classify[what_is_trained != "head"]
    kinds = {
        "classify": classify,
        "trained": trained,
        "pretrain": records[records["stage"] == "pretrain"],
    }
    for name, (kind, column) in reading()["study"].items():
        values = kinds[kind].get(column, pd.Series(dtype=object)).dropna()
        texts = dict.fromkeys(language.shown({column: value}, column) for value in values)
        if column == "data_name":
            texts = dict.fromkeys(_set_names(kinds[kind], language))
        full_name = name if "/" in name else f"study/{name}"
        if texts:
            yield full_name, Fact(" / ".join(texts), tuple(kinds[kind]["key"]))
        elif len(classify) and kind == "trained":  # no run has epochs
            yield full_name, Fact("--")
    seeds, words = classify["seed"].nunique(), language.words["seeds"]
    yield (
        "study/seeds",
        Fact(words["one" if seeds == 1 else "many"].format(n=seeds), tuple(classify["key"])),
    )
    yield (
        "study/git",
        Fact(", ".join(sorted({sha[:7] for sha in records["git_sha"]})), tuple(records["key"])),
    )
    if MEANINGLESS in set(classify["choice.budget"]):
        yield "smoke/budget", Fact(MEANINGLESS, tuple(classify["key"]))
    yield "study/level", Fact(language.number(100 * LEVEL, 0), tuple(records["key"]))
    yield "study/power", Fact(language.number(100 * statistics.POWER, 0), tuple(records["key"]))


def _set_names(runs: pd.DataFrame, language: Language) -> list[str]:
    """What data sets are called: a title where the language has one, the folder's name for a folder
    of one's own, else the name in the record.
    """
    roots = runs.get("runtime.data_root", pd.Series(index=runs.index, dtype=object))
    names = []
    for name, root in zip(runs["data_name"], roots, strict=True):
        is_own = name in OWN_DATA and isinstance(root, str)
        known = language.words["sets"].get(name, name)
        names.append(latex(Path(root).name if is_own else known))
    return names


def _cells(runs_dir: Path, role: str, sweep: str, language: Language) -> pd.DataFrame:
    """A sweep's table with the runs of each row, and a row with a hole for every variant that the
    experiment lacks.
    """
    table, runs = cells(runs_dir, sweep)
    keys = table["family"].map(runs.groupby("family")["key"].agg(tuple))
    there = set(zip(table["split"], table["variant"], strict=True))
    lacking = [
        cell
        for cell in product(table["split"].unique(), experiment_variants(role))
        if cell not in there
    ]
    holes = [
        {"split": s, "variant": v, "accuracy": language.hole("cell"), "keys": (), "images": 0}
        for s, v in lacking
    ]
    return pd.concat(
        [table.assign(variant=table["cell"], keys=keys, images=table["test"]), pd.DataFrame(holes)]
    )


def _compared(runs_dir: Path, sweep: str) -> pd.DataFrame:
    """The paired comparisons of a sweep, with the runs of each."""
    compared = compare_sweep(runs_dir, sweep)
    columns = list(compared.columns)
    swept = columns[3 : columns.index("seeds")] if len(compared) else []
    rows = []
    for row in compared.to_dict("records"):
        also = [f"{short(choice)}={row[choice]}" for choice in swept if row[choice]]
        cell, against = " ".join([row["variant"], *also]), opponent(row)
        words = {"variant": cell, "against": against}
        words["comparison"] = rf"\mbox{{{latex(cell)} {MINUS} {latex(against)}}}"
        rows.append(row | words | {"gap_low": row["low"], "gap_high": row["high"]})
    return pd.DataFrame(rows)


def _sentences(runs_dir: Path, role: str, sweep: str, language: Language) -> Facts:
    """What a sweep's numbers say in sentences, what of it is finished, and whether it has single
    seeds.
    """
    (frame, missing), words = sweep_frame(runs_dir, sweep), language.words
    found, noisy = (
        verdicts(compare_sweep(runs_dir, sweep, noisy=noise)) for noise in (False, True)
    )
    said, count = (
        [_said(sentence(one, language.name), language) for one in found],
        Counter(one.word for one in found),
    )
    robust = [_said(sentence(one, language.name), language) for one in noisy if one.seeds]
    done = words["done"].format(done=len(frame), all=len(frame) + len(missing))
    single = int(frame.groupby("family")["seed"].nunique().min() == 1)
    asked = experiment_variants(role)
    run = command(runs_dir, sweep, variants=asked, seeds=range(3 * single))
    lacks = missing or single or set(asked) - set(frame["variant"])
    texts = {
        "verdicts": _listed(said),
        "robust": words["robust"] * bool(robust) + _listed(robust),
        "summary": " ".join(
            text for text, one in zip(said, found, strict=True) if one.word != "cannot tell"
        ),
        "tally": words["tally"].format(
            n=len(found), **{word.split()[0]: count[word] for word in WORDS}
        ),
        "state": " ".join(
            [done, *[words["single"]] * single, *[language.hole("again", run=run)] * bool(lacks)]
        ),
    }
    return {f"{role}/{name}": Fact(text, tuple(frame["key"])) for name, text in texts.items()}


def _listed(said: list[str]) -> str:
    return r"\begin{itemize}\item " + r"\item ".join(said) + r"\end{itemize}" if said else ""


def _said(text: str, language: Language) -> str:
    """A verdict's sentence as LaTeX, with the command it may end on in the type of commands."""
    words, python, run = text.partition("python train.py")
    words = latex(language.localized(words)).replace(" -", f" {MINUS}").replace("(-", f"({MINUS}")
    return words + (typed(python + run) if python else "")


def _restored(records: pd.DataFrame) -> pd.DataFrame:
    """How each autoencoder restores test images, mean over seeds."""
    runs = records[records.get("test_mse", pd.Series(index=records.index, dtype=float)).notna()]
    runs = runs.rename(columns={"variant": "pretraining"}).assign(seeds=runs["seed"])
    measured = {c: (c, "mean") for c in runs if c.startswith("test_") and runs[c].dtype == float}
    about = {
        "seeds": ("seed", "nunique"),
        "keys": ("key", tuple),
        "images": ("images_test", "first"),
    }
    return runs.groupby(["split", "pretraining"], as_index=False).agg(**about, **measured)


def _raced(runs_dir: Path, records: pd.DataFrame) -> pd.DataFrame:
    """The newest race of the runs' exported models at the smallest batch and number of threads, on
    the last machine.
    """
    with suppress(UserError, IndexError):
        rows, where = latency_table(runs_dir), ["machine", *CELL]
        rows = rows[rows["key"].isin(records["key"])]
        first = rows[rows["machine"] == rows["machine"].iloc[0]].sort_values(CELL).iloc[0]
        rows = rows[(rows[where] == first[where]).all(axis=1)]
        ratio = {
            "factor": "",
            "factor_low": "_high",
            "factor_high": "_low",
        }  # of times, so the other way round
        rows = rows.assign(
            **{name: 1 / rows[f"ratio_to_best_fp32{end}"] for name, end in ratio.items()}
        )
        return rows.assign(keys=[(key,) for key in rows["key"]], images=rows["images_test"])
    return pd.DataFrame()


def _race(rows: pd.DataFrame, language: Language) -> Iterator[tuple[str, Fact]]:
    """What int8 gains and costs beside fp32 of the same run, as a range over runs; and where that
    was measured.
    """
    first, keys, words = rows.iloc[0], tuple(rows["key"].unique()), language.words
    crowd = rows["cores_of_others"].max()
    yield (
        "latency/crowd",
        Fact(words["crowd"].format(cores=language.number(crowd, 2)) if crowd > CROWD else "", keys),
    )
    yield "latency/machine", Fact(latex(first["gpu"] or first["cpu"]), keys)
    yield "latency/cell", Fact(words["cell"].format(**first[CELL]), keys)
    twins = rows[rows["model"] == "int8"].merge(
        rows[rows["model"] == "fp32"], on="key", suffixes=("", "_fp32")
    )
    change = twins["test_accuracy"] - twins["test_accuracy_fp32"]
    measured = {
        "factor": twins["factor"],
        "size": twins["bytes"] / twins["bytes_fp32"],
        "change": change,
    }
    for name, values in measured.items() if len(twins) else ():
        ends = dict.fromkeys(
            language.shown({name: value}, name) for value in (values.min(), values.max())
        )
        yield f"latency/{name}", Fact(words["to"].join(ends), keys)


def _latent(runs_dir: Path, records: pd.DataFrame) -> pd.DataFrame:
    """How each run's latent space was described, where it was."""
    rows = []
    for row in records.to_dict("records"):
        with suppress(OSError, ValueError):
            measured = json.loads(
                (RunFolder(runs_dir, row["key"]).path / "latent" / "latent.json").read_text()
            )
            about = {name: row[name] for name in ("key", "split", "variant", "seed")}
            about |= {"keys": (row["key"],), "images": row["images_test"]}
            rows.append({f"latent_{name}": value for name, value in measured.items()} | about)
    return pd.DataFrame(rows)
