"""The article: it agrees with the records, a change of either is found, and equal records give an
equal PDF.
"""

import json
import random
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from made_up import ROOT, two_seeds
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis.figures import FIGURES
from analysis.pareto import pareto_figure
from analysis.report import products
from analysis.report.article import (
    PDF,
    check_article,
    differences,
    items,
    numbers,
    set_by_latex,
    untrue,
    write_article,
)
from analysis.report.language import Language, reading
from analysis.report.products import translated
from birds.core.spec import UserError

LATEX = pytest.mark.skipif(
    not shutil.which("latexmk"), reason="no LaTeX here: .ci/latex.sh installs it"
)
CELLS = [f"variant={variant} split={split}" for split in (70, 90) for variant in ("A", "B2")]
PROVENANCE = {"precision": "32", "device_name": "a CPU", "images_valid": 20, "images_test": 60}


def records(runs_dir: Path, *cells: str, name: str = "exp1") -> None:
    """A sweep of these cells with two seeds each, and all fields that the article uses."""
    two_seeds(runs_dir, *cells, name=name)
    for file in runs_dir.glob("*/record.json"):
        record = (
            json.loads(file.read_text())
            | PROVENANCE
            | {"git_sha": "0123456789", "git_dirty": False}
        )
        restored = (
            {"test_mse": 0.01, "test_psnr": 20.0, "test_ssim": 0.7}
            if record["stage"] == "pretrain"
            else {}
        )
        file.write_text(json.dumps(record | restored, indent=0))


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("report") / "runs"
    records(runs, *CELLS)
    return runs


def write_without_latex(out: Path, runs_dir: Path, sweep: str, language: str) -> None:
    """Write everything but the PDF, as on a machine without LaTeX."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(runs_dir))
        with pytest.raises(UserError, match=r"apt-get install .*latexmk") as refusal:
            write_article(out, runs_dir, [sweep], language)
    assert len(str(refusal.value).splitlines()) == 2


@pytest.fixture(scope="module")
def without_latex(runs_dir: Path) -> Path:
    out = runs_dir.parent / "article"
    write_without_latex(out, runs_dir, "exp1", "es")
    return out


def test_without_latex_all_but_the_pdf_is_written_and_checked(
    without_latex: Path, runs_dir: Path
) -> None:
    macros = (without_latex / "macros.tex").read_text()
    assert re.search(r"\\defval\{one/70/B2/accuracy\}\{\d+,\d \[", macros), (
        "a decimal comma, and an interval"
    )
    assert "\\val{one/90/B2/macro_f1}" in (without_latex / "tables" / "results-one.tex").read_text()
    assert (without_latex / "figures" / "one-accuracy.pdf").read_bytes().startswith(b"%PDF")
    assert not (without_latex / PDF).exists()
    check_article(without_latex, runs_dir)


def test_what_is_missing_says_what_to_run(without_latex: Path, tmp_path: Path) -> None:
    macros = (without_latex / "macros.tex").read_text()
    assert re.search(r"one/90/B1/accuracy\}\{\\hole\{faltan datos\}\}", macros)
    assert re.search(
        r"one/state\}\{Se completaron 8 de las 8 .*variant=.*B1.*seed=.*0,.*1\}\}\}", macros
    )
    assert re.search(r"two/state\}\{\\hole\{.*exp2", macros)
    assert re.search(r"latency/state\}\{\\hole\{.*birds latency exp1", macros)
    records(tmp_path / "runs", "variant=A split=90", "variant=DAE split=90", name="exp2")
    write_without_latex(tmp_path, tmp_path / "runs", "exp2", "en")
    assert "two/90/DVAE/accuracy}{\\hole{no data}}" in (tmp_path / "macros.tex").read_text()


def mutated(dice: random.Random, runs_dir: Path, out: Path) -> tuple[str, Path, bytes | None]:
    """One planted change: the text that must be reported, the file, and its new contents (None:
    deleted).
    """
    kind = dice.choice(["metric", "run", "macro", "cell"])
    if kind in ("metric", "run"):
        file = dice.choice(sorted(runs_dir.glob("*/record.json")))
        record = json.loads(file.read_text())
        metric = dice.choice(
            [
                name
                for name, value in record.items()
                if name.startswith("test_") and isinstance(value, float)
            ]
        )
        changed = json.dumps(record | {metric: record[metric] + 0.001}, indent=0).encode()
        return file.parent.name, file, None if kind == "run" else changed
    file = out / "macros.tex" if kind == "macro" else dice.choice(sorted(out.glob("tables/*.tex")))
    lines = file.read_text().splitlines(keepends=True)
    number = dice.choice([n for n, line in enumerate(lines) if re.search(r"\d", line)])
    digit = dice.choice(list(re.finditer(r"\d", lines[number])))
    line = lines[number]
    lines[number] = line[: digit.start()] + str((int(digit[0]) + 1) % 10) + line[digit.end() :]
    return f"{file.name}, line {number + 1}", file, "".join(lines).encode()


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_planted_changes_are_all_named(without_latex: Path, runs_dir: Path, count: int) -> None:
    dice = random.Random(0)
    for _ in range(count):
        named, file, changed = mutated(dice, runs_dir, without_latex)
        before = file.read_bytes()
        if changed is None:
            file.unlink()
        else:
            file.write_bytes(changed)
        with pytest.raises(UserError, match=re.escape(named)):
            check_article(without_latex, runs_dir)
        file.write_bytes(before)


def test_a_change_that_the_manifest_was_made_to_agree_with_is_found_too(
    without_latex: Path, runs_dir: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(without_latex, tmp_path / "article")
    macros, manifest = out / "macros.tex", json.loads((out / "manifest.json").read_text())
    macros.write_text(macros.read_text().replace("{one/70/A/accuracy}{", "{one/70/A/accuracy}{9"))
    manifest["items"] |= items({"macros.tex": macros.read_bytes()})
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        UserError,
        match=r"macros.tex, line \d+ \(one/70/A/accuracy\) is not what the records say now",
    ):
        check_article(out, runs_dir)


def test_a_record_that_its_predictions_belie_is_found_even_in_a_fresh_article(
    runs_dir: Path,
) -> None:
    file = next(
        f for f in sorted(runs_dir.glob("*/record.json")) if '"stage": "classify"' in f.read_text()
    )
    before = file.read_text()
    file.write_text(json.dumps(json.loads(before) | {"test_accuracy": 0.99}))
    [found] = untrue(runs_dir, Language("es", {"one": "exp1"}))
    file.write_text(before)
    assert found.startswith(f"run {file.parent.name}: its record says 0.9900, its predictions")


@LATEX
def test_the_pdf_is_the_same_to_the_byte(
    without_latex: Path, runs_dir: Path, tmp_path: Path
) -> None:
    write_article(tmp_path, runs_dir, ["exp1"], "es")
    files = {
        name: (tmp_path / name).read_bytes()
        for name in json.loads((tmp_path / "manifest.json").read_text())["files"]
    }
    pdf = files.pop(PDF)
    assert files == {name: (without_latex / name).read_bytes() for name in files}
    assert set_by_latex(files, tmp_path, Language("es", {})) == pdf
    (tmp_path / PDF).write_bytes(pdf + b" ")
    with pytest.raises(UserError, match=rf"{PDF} is not as it was written"):
        check_article(tmp_path, runs_dir)


@pytest.mark.parametrize("name", ["es", "en"])
def test_the_templates_hold_no_number_and_every_word_they_need(name: str) -> None:
    language, other = Language(name, {}), Language({"es": "en", "en": "es"}[name], {})
    assert list(numbers(language)) == []
    language.template += "\nB1 alcanza un 57,5\\,\\%~\\cite{he2022mae}.\n"
    assert [found.split(": ")[1] for found in numbers(language)] == [
        "57,5 is typed; write \\val{...}"
    ]
    assert language.words.keys() == other.words.keys()
    columns = {column for _, columns in reading()["tables"].values() for column in columns}
    assert columns <= language.words["heads"].keys() == other.words["heads"].keys()
    assert columns <= reading()["styles"].keys()
    cited = {
        key
        for keys in re.findall(r"\\cite\{([^}]+)\}", language.template)
        for key in keys.split(",")
    }
    bibliography = set(
        re.findall(r"@\w+\{([^,]+),", (ROOT / "analysis/report/references.bib").read_text())
    )
    assert cited == bibliography


def words_of(figure: Figure) -> set[str]:
    """All words of three or more letters in a figure, in lower case."""
    figure.draw_without_rendering()
    return {
        word
        for text in figure.findobj(Text)
        for word in re.findall(r"\b[a-z]{3,}\b", re.sub(r"\$.*?\$", "", text.get_text()))
    }


def race() -> pd.DataFrame:
    """Latency rows of one machine."""
    rows = [
        {"model": m, "median_ms": n + 1.0, "bytes": 2e6}
        for n, m in enumerate(("eager", "compiled", "int8"))
    ]
    same = {
        "test_accuracy": 0.8,
        "images_test": 60,
        "cpu": "CPU",
        "machine": "M",
        "device": "cpu",
        "threads": 2,
    }
    return pd.DataFrame(rows).assign(**same, batch=1, baseline=True, run="B2 90/10 seed 0")


def test_figures_and_names_of_the_spanish_article_are_spanish(runs_dir: Path) -> None:
    spanish = Language("es", {"one": "exp1"})
    names = {name.partition("-")[2] for name in re.findall(r"\\fig\{([^}]+)\}", spanish.template)}
    assert {
        "accuracy",
        "curves",
        "classes",
        "learning",
        "errors",
        "confusion",
        "reconstructions",
        "robustness",
        "pareto",
        "latent",
    } == names
    for name in names:
        figure = pareto_figure(race()) if name == "pareto" else FIGURES[name](runs_dir, "exp1")
        english = words_of(figure)
        assert english
        assert english & words_of(translated(figure, spanish)) <= {"macro", "prior", "cpu"}, name
    assert spanish.shown({"model": "eager"}, "model") == "inmediato"
    assert spanish.shown({"pretraining": "variational"}, "pretraining") == "variacional"


def test_words_of_a_figure_are_looked_up_once(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking them up again for each tick took two thirds of the time of all figures."""
    names, calls = products.described_variants(), []
    monkeypatch.setattr(products, "described_variants", lambda: calls.append(1) or names)
    figure = translated(FIGURES["curves"](runs_dir, "exp1"), Language("es", {"one": "exp1"}))
    figure.draw_without_rendering()
    assert 1 <= len(calls) <= 2


def test_no_sweep_no_article(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no article in"):
        check_article(tmp_path, tmp_path)
    with pytest.raises(UserError, match="no sweep 'exp1'"):
        write_article(tmp_path, tmp_path, ["exp1"], "es")
    assert list(differences({"a": "1", "b": "2"}, {"a": "2", "c": "3"}, "as before")) == [
        "a is not as before",
        "b is gone",
        "c is new",
    ]
