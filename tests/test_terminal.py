"""Sentences on a terminal are wrapped between words; in a file they stay whole."""

import io
import sys

import pytest

from birds.core.terminal import tell, wrapped

LINE = (
    "6 of 100 classes kept (data.classes=6), 18 labelled, 162 unlabelled, 30 validation, 150 test"
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_gets_whole_words(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", Terminal())
    tell(LINE)
    lines = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
    assert " ".join(lines) == LINE
    assert len(lines) > 1
    assert max(map(len, lines)) <= columns


def test_a_file_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell(LINE)
    assert capsys.readouterr().err == f"{LINE}\n"


def test_a_command_is_never_wrapped() -> None:
    assert wrapped("  " + LINE) == "  " + LINE
