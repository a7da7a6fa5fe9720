"""Typing mistakes give one sentence with advice and status 2, and never a traceback."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from birds.core.errors import (
    _hydra_sentence,
    exit_status,
    in_quotes,
    refuse_odd_file,
    refuse_unknown_additions,
)
from birds.core.process import prepare_process
from birds.core.spec import UserError
from birds.core.store import RunFolder, find_run

ROOT = Path(__file__).resolve().parents[1]
NAMES = [
    "données",
    "archive (1)",
    "it's",
    "R&D",
    "x#y",
    "a=b",
    "a,b",
    "~/none",
    "a'b,c=d",
    "{x}",
    "[1]",
]


def call(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return forked.call([sys.executable, *words], cwd, {**os.environ, "PYTHONPATH": str(ROOT)})


def train(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return call(cwd, str(ROOT / "train.py"), *words)


def birds(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return call(cwd, "-m", "birds", *words)


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The only line of an error message."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("birds: ")
    return last


def as_typed(quoted: str) -> str:
    """The word as a shell passes it on."""
    command = ["bash", "-c", f"printf %s {quoted}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_cure_for_a_name_works(tmp_path: Path, name: str) -> None:
    """Each name is tried as it is, and then as the message suggests."""
    cure = in_quotes(f"data.root={name}")
    asked = train(tmp_path, f"data.root={name}", "data=folder", "dry_run=true")
    if name not in (
        "{x}",
        "[1]",
    ):  # Hydra reads a mapping and a list; refused, because it is not a folder
        assert cure in sentence(asked)
    for door in ([], ["-m"]):
        if door and name not in ("a,b", "it's"):
            continue
        again = train(tmp_path, *door, as_typed(cure), "data=folder", "dry_run=true")
        assert f"{name.replace('~', str(Path.home()))} is not a folder" in sentence(again)


@given(value=st.text("ab é'\",=~#&()[]{}$`!\\:*?", min_size=1, max_size=12))
def test_hydra_reads_a_quoted_value_letter_for_letter(value: str) -> None:
    if value[0] in "'\"":  # Hydra takes the quotes around it as its own
        return
    words = as_typed(in_quotes(f"data.root={value}"))
    [override] = OverridesParser.create().parse_overrides([words])
    assert override.value() == value


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("+splt=70", "split"),
        ("++sead=1", "seed"),
        ("+data.rot=x", "data.root"),
        ("+nonsense=1", ""),
    ],
)
def test_an_unknown_key_is_not_added_in_silence(
    monkeypatch: pytest.MonkeyPatch, word: str, near: str
) -> None:
    monkeypatch.setenv("BIRDS_HOME", str(ROOT))
    with pytest.raises(UserError, match=f"unknown key .*{near}"):
        refuse_unknown_additions(["-m", "variant=A", word])


def test_other_additions_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIRDS_HOME", str(ROOT))
    words = ["++split=70", "+sweeps=exp1", "+slurm.account=me", "+hydra.verbose=true", "~search"]
    refuse_unknown_additions([*words, "+budget.classify.max_steps=3", "--help", "split=+1"])


def test_an_unknown_key_is_refused_by_the_command(tmp_path: Path) -> None:
    assert "did you mean split?" in sentence(train(tmp_path, "+splt=70"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("door", [[], ["-m"]])
def test_a_runs_folder_that_cannot_be_made(tmp_path: Path, door: list[str]) -> None:
    said = sentence(train(tmp_path, *door, "runs_dir=/proc/nowhere"))
    assert "/proc/nowhere" in said
    assert "runs_dir=FOLDER" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predict", "a.jpg", "b.jpg"), "the run's key comes first"),
        (("predict", "/tmp/a.jpg", "/tmp/b.jpg"), "the run's key comes first"),
        (("logs", "/wrong"), "no single run '/wrong'"),
        (("logs", "a**"), "no single run 'a**'"),
        (("logs", ""), "no single run ''"),
        (("data", "preview", "--out", "x.xyz"), "choose .png"),
        (("data", "preview", "--out", "."), "is a folder"),
        (("data", "preview", "--out", "no/x.png"), "no is not a folder"),
        (("dashboard", "--out", "."), "is a folder"),
        (("predict", "key", "a.jpg", "--picture", "x.xyz"), "choose .png"),
    ],
)
def test_birds_commands_refuse_in_a_sentence(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    refusal = sentence(birds(tmp_path, *words))
    assert said in refusal
    assert "runs_dir=" not in refusal, "birds has no such option"


def test_birds_advises_the_options_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        Path("/proc/nowhere/x").write_text("")

    assert exit_status(fail, "choose another with --out") == 2
    assert capsys.readouterr().err.endswith("choose another with --out\n")


def test_a_reader_that_is_gone_is_no_error(tmp_path: Path) -> None:
    code = "import sys; from birds.core.errors import exit_status;" + (
        "sys.exit(exit_status(lambda: [print('x' * 100) for _ in range(100_000)]))"
    )
    command = f'"{sys.executable}" -c "{code}" | head -1; echo ${{PIPESTATUS[0]}}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "141"


def test_another_broken_pipe_keeps_its_traceback() -> None:
    def fail() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        exit_status(fail)


def test_long_fields_of_a_csv_are_read(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    prepare_process()
    try:
        [row] = csv.reader([f"train/A/000.jpg,{'1 2 ' * 100_000}"])
        assert len(row) == 2
    finally:
        csv.field_size_limit(before)


@given(name=st.text(max_size=12))
def test_any_name_of_a_run_is_found_or_refused(name: str) -> None:
    with pytest.raises(UserError, match="no single run"):
        find_run(ROOT / "docs", name.replace("\0", ""))


def test_a_run_is_found_by_the_beginning_of_its_key(tmp_path: Path) -> None:
    for key in ("ab12", "ab34", "cd56"):
        folder = RunFolder(tmp_path, key)
        folder.path.mkdir()
        folder.spec_file.write_text("{}")
    assert find_run(tmp_path, "c").key == "cd56"
    assert find_run(tmp_path, str(tmp_path / "ab12")).key == "ab12"
    with pytest.raises(UserError, match="2 runs start with it: ab12, ab34"):
        find_run(tmp_path, "ab")


@pytest.mark.parametrize("name", ["x.png", "X.PNG", "a.b.jpg"])
def test_files_that_can_be_made_are_let_through(tmp_path: Path, name: str) -> None:
    refuse_odd_file(tmp_path / name, (".png", ".jpg"))


def test_a_locale_without_the_letters_harms_nothing(
    tmp_path: Path, write_photos: Callable[..., Any]
) -> None:
    counts = {f"{part}/Ñandú 麻": 2 for part in ("train", "valid", "test")}
    counts |= {name.replace("Ñandú 麻", "CROW"): 2 for name in counts}
    write_photos(tmp_path / "fotos", counts)
    for locale in ({"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "latin-1"}):
        done = subprocess.run(
            [sys.executable, "-m", "birds", "data", "check", "fotos"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", **locale},
            capture_output=True,
            check=False,
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode in (0, 2)


@pytest.mark.parametrize("word", ["variant=A,", "split=70,"])
def test_a_blank_after_a_comma_is_named(word: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    with pytest.raises(OverrideParseException) as raised:
        OverridesParser.create().parse_overrides([word])
    assert "put no blank after a comma" in str(_hydra_sentence(raised.value))
