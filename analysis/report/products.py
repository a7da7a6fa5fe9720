"""What LaTeX needs to set the article, by file name: templates, macros, tables, figures.

A pure function of records and templates: what it returns twice is the same bytes, so a difference
to what lies on disk is an edit or a change of the records.
"""

import hashlib
import re
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.drawing import draw_all, save
from analysis.figures import FIGURES
from analysis.report.facts import Facts, all_facts
from analysis.report.language import HOUSE, Language, latex, reading
from analysis.report.network import network_code
from analysis.report.sources import article_records, experiment_variants
from analysis.variants import described_variants, variant
from birds.core.spec import UserError
from birds.core.store import RunFolder

KEPT = ("preamble.tex", "references.bib")
MACROS_HEAD = "% Written by birds report: an edit here is found by birds report --check\n"


def contents(runs_dir: Path, language: Language) -> dict[str, bytes]:
    """Every file that the article is set from."""
    facts, records = all_facts(runs_dir, language), article_records(runs_dir, language.sweeps)
    found = {
        "article.tex": language.template,
        **{name: (HOUSE / name).read_text() for name in KEPT},
        "macros.tex": _macros(facts, language),
        **{f"tables/{name}.tex": _table(name, facts, language) for name in reading()["tables"]},
        "tables/variants.tex": _variants(records, language),
        "tables/runs.tex": _runs(runs_dir, records, language),
        "tables/provenance.tex": _provenance(facts, records, language),
    }
    code = network_code(records)
    listing = {"network.py": code} if code else {}
    written = {name: text.encode() for name, text in found.items()}
    return written | listing | figures(runs_dir, language)


def _macros(facts: Facts, language: Language) -> str:
    """A macro for each value; one that the template asks for and the records do not give says what
    to run.
    """
    asked = re.findall(r"\\val\{([^}]+)\}", language.template)
    asked += [f"figure/{name}" for name in re.findall(r"\\fig\{([^}]+)\}", language.template)]
    asked += [f"{part}/state" for part in re.findall(r"\\given\{(\w+)\}", language.template)]
    shown = {name: language.hole(name) for name in asked} | {
        f"{name.partition('/')[0]}/there": "" for name in facts
    }
    shown |= {name: fact.text for name, fact in facts.items()}
    return MACROS_HEAD + "".join(
        f"\\defval{{{name}}}{{{text}}}\n" for name, text in sorted(shown.items())
    )


def _table(name: str, facts: Facts, language: Language) -> str:
    """A table whose cells are the macros of its facts; what to run where there is no row."""
    pattern, columns = reading()["tables"][name]
    groups = [
        group
        for group in _groups(facts)
        if re.fullmatch(pattern, group) and f"{group}/{columns[-1]}" in facts
    ]
    distinct: dict[tuple[str, ...], list[str]] = {}  # two experiments may share cells
    for group in groups:
        names = [f"{group}/{column}" for column in columns]
        texts = tuple(facts[name].text if name in facts else "--" for name in names)
        row = [rf"\val{{{name}}}" if name in facts else "--" for name in names]
        distinct.setdefault(texts, row)
    rows = list(distinct.values())
    return (
        _set(rows, columns, "ll" + "r" * (len(columns) - 2), language)
        if rows
        else language.hole(name)
    )


def _variants(records: pd.DataFrame, language: Language) -> str:
    """What each variant of the article is, in the words of its YAML."""
    names = dict.fromkeys(name for role in language.sweeps for name in experiment_variants(role))
    classify = records[records["stage"] == "classify"]
    names |= dict.fromkeys(sorted(classify["variant"].unique()))
    items = [rf"\item[{latex(n)}] {latex(variant(n).titled(language.name))}." for n in names]
    return "\n".join([r"\begin{description}", *items, r"\end{description}"])


def _groups(facts: Facts) -> dict[str, str]:
    """One name of each group of facts, by what they share; without the aliases of splits."""
    return {name.rpartition("/")[0]: name for name in facts if not re.search("/(few|many)/", name)}


def _set(
    rows: Sequence[Sequence[str]],
    columns: Sequence[str],
    align: str,
    language: Language,
    long: str = "",
) -> str:
    """Rows as LaTeX with booktabs' rules and the language's heads; `long` names one that goes over
    several pages.
    """
    style = pd.DataFrame(
        rows, columns=[language.words["heads"][column] for column in columns]
    ).style.hide(axis="index")
    about = {
        "environment": "longtable",
        "caption": language.words["captions"].get(long),
        "label": f"tab:{long}",
    }
    text = style.to_latex(
        column_format=f"@{{}}{align}@{{}}", hrules=True, **(about if long else {})
    )
    return re.sub(r"\\multicolumn\{\d+\}\{r\}\{Continued[^}]*\} *\\\\\n", "", text)


def _runs(runs_dir: Path, records: pd.DataFrame, language: Language) -> str:
    """Every run with what its numbers stand on: code, data, recipe, precision, and a print of its
    record.
    """
    columns = (
        "key",
        "variant",
        "cut",
        "seed",
        "start",
        "code",
        "data",
        "recipe",
        "precision",
        "print",
    )
    rows = []
    for run in records.sort_values(["stage", "split", "variant", "seed"]).to_dict("records"):
        start = ", ".join(run["needs_keys"]) or "--"
        name = language.words["terms"].get(run["variant"], run["variant"])
        about = (run["key"], name, f"{run['split']}/{100 - run['split']}", run["seed"], start)
        code = run["git_sha"][:7] + "+" * run["git_dirty"]
        record = digest(RunFolder(runs_dir, run["key"]).record_file.read_bytes())[:10]
        rows.append(
            [
                latex(x)
                for x in (*about, code, run["data_digest"], run["recipe"], run["precision"], record)
            ]
        )
    return _set(rows, columns, "l" * len(columns), language, "runs")


def _provenance(facts: Facts, records: pd.DataFrame, language: Language) -> str:
    """For each group of values the keys of its runs, and the number of test images of each."""
    rows = []
    for group, name in _groups(facts).items():
        runs = (
            language.words["all"]
            if set(facts[name].keys) >= set(records["key"])
            else ", ".join(facts[name].keys)
        )
        rows.append([latex(group), runs or "--", str(facts[name].images or "--")])
    align = r"p{0.27\linewidth}>{\raggedright\arraybackslash}p{0.6\linewidth}r"
    return _set(rows, ("values", "runs", "images"), align, language, "provenance")


def figures(runs_dir: Path, language: Language) -> dict[str, bytes]:
    """The figures that the article shows and the records allow, as PDF, in its language."""
    names = re.findall(r"\\fig\{([^}]+)\}", language.template)
    with tempfile.TemporaryDirectory() as folder:
        refused = draw_all(partial(_draw, runs_dir, language, Path(folder)), names)
        drawn = [name for name, why in zip(names, refused, strict=True) if not why]
        return {
            f"figures/{name}.pdf": (Path(folder) / f"{name}.pdf").read_bytes() for name in drawn
        }


def _draw(runs_dir: Path, language: Language, folder: Path, name: str) -> str:
    """Draw one figure of the article; returns the reason if the records do not allow it."""
    role, _, figure = name.partition("-")
    try:
        drawn = FIGURES[figure](runs_dir, language.sweeps[role])
        save(translated(drawn, language), folder / name, ("pdf",))
    except (UserError, KeyError) as refusal:
        return str(refusal)
    return ""


def translated(figure: Figure, language: Language) -> Figure:
    """A figure with its words and decimal points in the language of the article."""
    terms = [
        (re.compile(rf"(?<!\w){re.escape(english)}(?!\w)"), words)
        for english, words in (_short_names(language) | language.words["terms"]).items()
    ]

    def own(text: str) -> str:
        for english, words in terms:
            text = english.sub(words, text)
        return language.localized(text)

    for text in figure.findobj(Text):
        text.set_text(own(text.get_text()))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        formatter = axis.get_major_formatter()
        plain = partial(
            lambda plain, values: [own(text) for text in plain(values)], formatter.format_ticks
        )
        vars(formatter)["format_ticks"] = plain
    return figure


def _short_names(language: Language) -> dict[str, str]:
    """The words that follow a variant's name in figures, English to the article's language."""
    known = [variant(name).named() for name in described_variants()]
    own = [variant(name).named(language.name) for name in described_variants()]
    return dict(zip(known, own, strict=True)) if language.words["terms"] else {}


def digest(content: bytes) -> str:
    """sha256 in hex."""
    return hashlib.sha256(content).hexdigest()
