"""The output of `--help`, and the answers to wrong words."""

import os
import subprocess
import sys

import pytest
from composing import ROOT

from birds.cli import main
from birds.core.help_page import help_page


def test_help_prints_every_choice_with_its_comment_and_three_examples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BIRDS_HOME", str(ROOT))
    page = help_page()
    assert (ROOT / "configs" / "config.yaml").read_text() in page
    assert page.count("  python train.py ") == 3
    for folder in ("encoder", "head", "variant"):
        for file in (ROOT / "configs" / folder).glob("*.yaml"):
            assert file.stem in page.partition("# The options of each group:")[2]
    assert (
        max(len(line) for line in page.partition("# The options of each group:")[2].split("\n"))
        <= 100
    )


def test_help_does_not_wait_for_torch() -> None:
    command = [sys.executable, "-X", "importtime", "train.py", "--help"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ}
    )
    assert "split: auto " in done.stdout
    assert "torch" not in done.stderr


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["tabel"], "birds: unknown command 'tabel'; did you mean table? See birds --help"),
        (
            ["data", "chek"],
            "birds: unknown command 'chek'; did you mean check? See birds data --help",
        ),
        (["qqq"], "birds: unknown command 'qqq'. See birds --help"),
    ],
)
def test_a_wrong_command_is_answered_with_the_right_one(
    words: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert capsys.readouterr().err.strip() == answer
