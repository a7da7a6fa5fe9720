"""Stored plans: the same keys as by composing, and nothing reused after a change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from composing import ROOT, composed, options, spec

from birds.core.parts import part_class
from birds.core.spec import RunSpec, UserError
from birds.launch.chosen import spec_from_config
from birds.launch.memo import Memo, code_stamp

CHAIN = ("variant=B2", "pretraining=simclr", "+pretraining@pretraining.after=denoise")
ASKED = {
    **{name: (f"variant={name}",) for name in options("variant")},
    "chain": CHAIN,
    "pool": ("variant=B2", "pool=all_classes"),
    "pool of a classifier": ("variant=FixMatch", "pool=all_classes"),
    "fitted": ("variant=B1", "head=svm"),
}


def refuses(config: Any, data_digest: str, pool_digest: str) -> RunSpec:
    """In place of the composing function, where nothing may be composed any more."""
    raise AssertionError("this configuration was planned before")


def never_kept(folder: Path, *words: str) -> bool:
    """Whether a new process would have to compose this, because it was not stored."""
    try:
        Memo(folder, "stamp").draft(composed(*words), refuses)
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("words", ASKED.values(), ids=ASKED)
def test_memo_and_composing_agree_on_keys(tmp_path: Path, words: tuple[str, ...]) -> None:
    memo = Memo(tmp_path, "stamp")
    memo.keep(memo.draft(composed(*words, "seed=0"), spec_from_config))
    again = Memo(tmp_path, "stamp")  # as in another process
    for seed in (0, 7):
        values = composed(*words, f"seed={seed}")
        for digests in (("a" * 12, ""), ("b" * 12, "c" * 12)):
            remembered = again.draft(values, refuses).spec(*digests)
            assert remembered == spec_from_config(values, *digests)
            assert remembered.key == spec_from_config(values, *digests).key


def test_all_classes_become_their_number(tmp_path: Path) -> None:
    words = ("data=folder", "data.root=photos", "variant=B2")
    draft = Memo(tmp_path, "stamp").draft(composed(*words), spec_from_config)
    every, seven = (
        Memo(tmp_path, "stamp")
        .draft(composed(*words, *more), spec_from_config)
        .spec("a" * 12, "", 7)
        for more in ((), ("data.classes=7",))
    )
    assert draft.values["data"]["classes"] is None
    assert [run.data.classes for run in every.lineage()] == [7, 7]
    assert every.key == seven.key


def test_another_choice_is_not_taken_for_the_one_that_is_remembered(tmp_path: Path) -> None:
    memo = Memo(tmp_path, "stamp")
    memo.keep(memo.draft(composed("variant=B2"), spec_from_config))
    assert not never_kept(tmp_path, "variant=B2", "seed=3", "slots=2", "device=cpu")
    for word in ("noise=0.3", "data.seed=1", "label_smoothing=0", "split=80", "pool=/elsewhere"):
        assert never_kept(tmp_path, "variant=B2", word), word
    assert Memo(tmp_path, "other").draft(composed("variant=B2"), spec_from_config).new


def test_what_is_refused_is_refused_again_and_a_bad_seed_too(tmp_path: Path) -> None:
    memo = Memo(tmp_path, "stamp")
    memo.keep(memo.draft(composed("variant=B2"), spec_from_config))
    for words in (("variant=B2", "seed=-1"), ("variant=B2", "split=101")):
        for _ in range(2):
            with pytest.raises(UserError):
                memo.draft(composed(*words), spec_from_config)


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    memo = Memo(tmp_path, "stamp")
    memo.keep(memo.draft(composed("variant=A"), spec_from_config))
    (file,) = tmp_path.glob("plans-*.jsonl")
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    assert never_kept(tmp_path, "variant=A")
    file.write_text(whole[: len(whole) // 2] + "\n" + whole)
    assert not never_kept(tmp_path, "variant=A")


def test_a_part_from_outside_is_not_remembered(tmp_path: Path) -> None:
    name = part_class("encoder", "unet").__name__
    words = ("variant=A", f"encoder.part='birds.encoders.unet:{name}'")
    assert spec(*words).encoder.part == f"birds.encoders.unet:{name}"
    memo = Memo(tmp_path, "stamp")
    memo.keep(memo.draft(composed(*words), spec_from_config))
    assert never_kept(tmp_path, *words)


def test_a_changed_part_and_a_new_one_change_the_stamp(tmp_path: Path) -> None:
    package = tmp_path / "birds"
    shutil.copytree(ROOT / "birds" / "encoders", package / "encoders")
    stamps = [fresh_stamp(package)]
    part = package / "encoders" / "simple_cnn.py"
    part.write_text(part.read_text() + "# changed\n")
    stamps.append(fresh_stamp(package))
    shutil.copy(part, part.with_name("another.py"))
    stamps.append(fresh_stamp(package))
    same_size = part.stat()
    os.utime(part, ns=(same_size.st_atime_ns, same_size.st_mtime_ns + 1))
    stamps.append(fresh_stamp(package))
    assert len(set(stamps)) == 4
    assert fresh_stamp(package) == stamps[-1]


def fresh_stamp(package: Path) -> str:
    code_stamp.cache_clear()
    return code_stamp(package)


def test_a_sweep_that_was_planned_before_imports_no_torch(photos_in: Any, tmp_path: Path) -> None:
    root = photos_in({f"{part}/{name}": 6 for part in ("train", "test") for name in ("JAY", "OWL")})
    program = (
        "import runpy, sys; sys.argv = ['train.py', *sys.argv[1:]]\n"
        "try: runpy.run_path('train.py', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('torch' in sys.modules)"
    )
    words = ["-m", "variant=A,B2", "data=folder", f"data.root={root}", "data.test=auto", "split=50"]
    words += [f"runs_dir={tmp_path}/runs", "dry_run=true"]
    imported = []
    for seeds in ("seed=0", "seed=0,1"):
        command = [sys.executable, "-c", program, *words, seeds]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        imported.append(done.stdout.split()[-1])
    assert imported == ["True", "False"]
