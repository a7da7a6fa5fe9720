"""No reader of checkpoints, predictions, latent spaces or studies executes code in a file, and a
broken file never gives a traceback.
"""

from __future__ import annotations

import io
import json
import pickle
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from analysis.dashboard.content import _cloud
from analysis.frame import predictions
from analysis.latent_pictures import read_space
from birds.core.checkpoint import read_checkpoint
from birds.core.spec import UserError
from birds.core.store import RunFolder
from birds.launch.search import study_file, trials

ROOT = Path(__file__).resolve().parents[1]


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.made,)


def as_pickle(made: Path) -> bytes:
    return pickle.dumps(Malicious(made))


def as_checkpoint(made: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"state_dict": Malicious(made)}, file)
    return file.getvalue()


def as_arrays(made: Path) -> bytes:
    """An object array for every array that a reader needs."""
    names = ("species", "test_label", "vectors", "label", "cluster", "photo", "tsne")
    trap = np.empty(1, dtype=object)
    trap[0] = Malicious(made)
    file = io.BytesIO()
    np.savez(file, **dict.fromkeys(names, trap))
    return file.getvalue()


def as_broken_zip(made: Path) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("label.npy", bytes(1000))
    whole = file.getvalue()
    return whole[: len(whole) // 2]


def read_run(folder: RunFolder) -> list[object]:
    """The result of each reader for its file."""
    return [
        read_checkpoint(folder.checkpoint("best")),
        predictions(folder.path.parent, folder.key, "species", "test_label"),
        read_space(folder.latent),
        _cloud(folder),
    ]


@pytest.mark.parametrize(
    "content", [as_pickle, as_checkpoint, as_arrays, as_broken_zip, lambda made: b""]
)
def test_what_is_in_a_file_is_not_executed(
    tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    folder, made = RunFolder(tmp_path, "0" * 12), tmp_path / "executed"
    files = (
        folder.checkpoint("best"),
        folder.predictions_file,
        folder.latent / "latent.npz",
    )
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(made))
    (folder.latent / "latent.json").write_text("{}")
    about = {"species": ["A", "B"], "runtime.data_root": "gone"}
    folder.record_file.write_text(json.dumps(about))
    assert read_run(folder) == [None] * 4
    assert not made.exists()


@pytest.mark.parametrize("content", [as_pickle, as_broken_zip, lambda made: b"SQLite format 3\0"])
def test_a_study_that_is_none_is_refused_and_not_executed(
    tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    file, made = study_file(tmp_path, "search"), tmp_path / "executed"
    file.parent.mkdir(parents=True)
    file.write_bytes(content(made))
    with pytest.raises(UserError, match=r"study\.db cannot be read as the study of a search"):
        trials(tmp_path, "search")
    assert not made.exists()


def test_what_a_study_holds_is_read_and_not_executed(tmp_path: Path) -> None:
    """A study may come from anywhere: every column of bytes or text has harmful data here."""
    import optuna

    file, made = study_file(tmp_path, "search"), tmp_path / "executed"
    file.parent.mkdir(parents=True)
    study = optuna.create_study(study_name="search", storage=f"sqlite:///{file}")
    study.optimize(lambda trial: trial.suggest_float("lr", 0, 1), n_trials=1)
    with sqlite3.connect(file) as database:
        for table, column in (
            ("trial_params", "distribution_json"),
            ("trial_system_attributes", "value_json"),
            ("trial_user_attributes", "value_json"),
            ("study_user_attributes", "value_json"),
        ):
            database.execute(f"UPDATE {table} SET {column} = ?", (as_pickle(made),))
    with pytest.raises(UserError, match="cannot be read as the study of a search"):
        trials(tmp_path, "search")
    assert not made.exists()


def test_the_trap_works(tmp_path: Path) -> None:
    pickle.loads(as_pickle(tmp_path / "executed"))
    assert (tmp_path / "executed").exists()


def test_no_other_reader_could_execute_anything() -> None:
    """A new reader must state that nothing is unpickled, and be added to the test above."""
    for file in [*ROOT.glob("birds/**/*.py"), *ROOT.glob("analysis/**/*.py")]:
        for line in file.read_text().splitlines():
            if "np.load(" in line:
                assert "allow_pickle=False" in line, f"{file}: {line}"
            if "torch.load(" in line:
                assert "weights_only=True" in line, f"{file}: {line}"
            assert "pickle.load" not in line, f"{file}: {line}"
            assert "joblib.load" not in line, f"{file}: {line}"
