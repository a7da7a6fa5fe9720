"""Fitted heads have no epochs, and some runs are not tested under noise.

Everything that shows a sweep works without these values, for every variant and head.
"""

import re
from pathlib import Path

import pandas as pd
import pytest
from made_up import print_comparisons, print_tables, spec, two_seeds

from analysis.dashboard.content import content
from analysis.dashboard.page import write_page
from analysis.figures import FIGURES, write_figures
from analysis.report.article import check_article, write_article
from analysis.tables import noise_table, sweep_table
from birds.core.spec import UserError

MIXED = [
    "variant=A split=90 head=linear",
    "variant=B1 split=90 head=svm",
    "variant=B1 split=90 head=knn robustness=false",
    "variant=B0 split=90 head=logistic encoder=simple_cnn",
    "variant=FixMatch split=90 head=mlp",
    "variant=KM split=90 head=mlp",
]
FITTED = [
    "variant=B0 split=90 head=forest robustness=false",
    "variant=B0 split=90 head=knn robustness=false",
]


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("without") / "runs"
    two_seeds(runs, *MIXED, name="mixed")
    two_seeds(runs, *FITTED, name="fitted")
    return runs


def test_fitted_heads_have_no_training(runs_dir: Path) -> None:
    assert spec(*FITTED[0].split()).training is None
    assert spec(*MIXED[0].split()).training is not None


def test_the_table_has_training_accuracy_and_dashes_for_noise(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, _missing = sweep_table(runs_dir, "mixed")
    print_tables(runs_dir, "mixed")
    print_comparisons(runs_dir, "mixed")
    assert "nan" not in capsys.readouterr().out
    written = pd.read_csv(runs_dir / "tables" / "mixed.csv")
    assert written["train_accuracy"].tolist() == pytest.approx([0.99] * len(MIXED))
    noise = noise_table(table).set_index("head")
    assert noise.loc["knn", "20 % noise"] == "-"
    assert re.match(r"\d", noise.loc["svm", "20 % noise"])
    assert noise_table(sweep_table(runs_dir, "fitted")[0]).empty


def test_figures_without_curves_say_why(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = write_figures(runs_dir, "fitted", tmp_path)
    assert "have no epochs" in missing["curves"]
    assert "under noise" in missing["robustness"]
    assert {"accuracy", "cost", "confusion", "reliability", "errors"} <= set(FIGURES) - set(missing)
    lines = FIGURES["curves"](runs_dir, "mixed").axes[0].lines
    shown = {str(line.get_label()).partition(" ")[0] for line in lines}
    assert {"A", "KM", "FixMatch"} <= shown
    assert "B0" not in shown
    panel = FIGURES["robustness"](runs_dir, "mixed").axes[0]
    assert len(panel.lines) == len(MIXED) - 1
    with pytest.raises(UserError, match="make sweep-noise"):
        FIGURES["noise"](runs_dir, "mixed")


@pytest.mark.parametrize("sweep", ["mixed", "fitted"])
def test_the_page_shows_them(runs_dir: Path, tmp_path: Path, sweep: str) -> None:
    shown = content(runs_dir, sweep)
    heads = {cell["head"] for cell in shown["cells"]}
    assert heads == {
        re.search(r"head=(\w+)", words)[1] for words in {"mixed": MIXED, "fitted": FITTED}[sweep]
    }  # type: ignore[index]
    assert all(run["state"] == "finished" for run in shown["runs"])
    assert "B0" in shown["titles"]
    fitted = [run["key"] for run in shown["runs"] if run["what"] in ("B0", "B1")]
    assert not set(fitted) & set(shown["curves"])
    page = write_page(runs_dir, sweep, tmp_path / "page.html")
    assert "svm" in page.read_text() or sweep == "fitted"


@pytest.mark.parametrize("sweep", ["mixed", "fitted"])
def test_the_article_holds_them(
    runs_dir: Path, tmp_path: Path, sweep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="latexmk"):
        write_article(tmp_path / "article", runs_dir, [sweep], "en")
    macros = (tmp_path / "article" / "macros.tex").read_text()
    assert "B0 head=" in macros
    variants = (tmp_path / "article" / "tables" / "variants.tex").read_text()
    assert r"\item[B0] The control: an untrained encoder" in variants
    assert "nan" not in macros
    if sweep == "fitted":
        assert r"\defval{study/epochs}{--}" in macros
    check_article(tmp_path / "article", runs_dir)
