"""Wrong requests on the real command line: exit status 2, a line or two with advice, and nothing is
started.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import pytest

from birds.core.spec import RECIPE

TRAIN = Path(__file__).resolve().parent.parent / "train.py"
KEY = re.compile(r"[0-9a-f]{12}")


@pytest.fixture(scope="session")
def photos(tmp_path_factory, write_photos) -> Path:
    """Three species with twelve training photos each."""
    parts = {"train": 12, "valid": 2, "test": 2}
    counts = {
        f"{part}/{name}": count
        for part, count in parts.items()
        for name in ("CROW", "ROBIN", "WREN")
    }
    return write_photos(tmp_path_factory.mktemp("asked") / "photos", counts)


def call(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("BIRDS", "HYDRA"))}
    environment["OMP_NUM_THREADS"] = "1"
    return forked.call(words, cwd, environment)


def train(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python train.py` in `cwd`; the runs folder is `cwd/runs`."""
    return call([sys.executable, str(TRAIN), *words], cwd)


def birds(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the `birds` command in `cwd`."""
    return call([sys.executable, "-c", "from birds.cli import main; main()", *words], cwd)


def these(root: Path) -> list[str]:
    """The words that choose a small folder of photos."""
    return [
        "data=folder",
        f"data.root={root}",
        "data.test=2",
        "budget=smoke",
        "tracking=none",
    ]


def started(runs_dir: Path) -> list[str]:
    """The key folders and records under a runs folder."""
    return [
        str(path)
        for path in runs_dir.rglob("*")
        if KEY.fullmatch(path.name) or path.name == "record.json"
    ]


def assert_refused(asked: subprocess.CompletedProcess[str], *phrases: str) -> None:
    assert asked.returncode == 2, asked.stderr
    lines = asked.stderr.strip().splitlines()
    assert "Traceback" not in asked.stderr
    assert len(lines) <= 2, asked.stderr
    assert lines[-1].startswith("birds: ")
    for phrase in phrases:
        assert phrase in lines[-1]


WRONG_WORDS = [
    (["splt=70"], ["unknown key splt; did you mean split?"]),
    (["data.rot=x"], ["unknown key data.rot; did you mean data.root?"]),
    (["budget.clasify.lr=1"], ["unknown key budget.clasify.lr; did you mean budget.classify.lr?"]),
    (
        ["variant=DAE", "pretraining.hiden=0.6"],
        ["unknown key pretraining.hiden; did you mean pretraining.hidden?"],
    ),
    (["variants=A"], ["unknown key variants; did you mean variant?"]),
    (["sweeps=exp9"], ["unknown sweeps=exp9; did you mean exp", "exp1, exp2, "]),
    (["skips=maybe"], ["skips=maybe", "choose plain, dropout, gated or narrow"]),
    (["variant=B2", "budget.pretrain.epochs=0"], ["budget.pretrain.epochs=0"]),
    (
        ["-m", "--cfg", "job"],
        ["-m runs jobs, --cfg and --info only print: use one of them, not both"],
    ),
    (["epochs=3"], ["unknown key epochs; did you mean budget.classify.epochs (or budget.frozen."]),
    (["xyzzy=1"], ["unknown key xyzzy. See python train.py --help"]),
    (
        ["variant=B9"],
        ["unknown variant=B9", "There are: A, B0, B1, B2, Backbone, ClassMeans, DAE, DVAE, "],
    ),
    (
        ["data=flder"],
        [
            "unknown data=flder; did you mean folder?",
            "There are: birds525, fashion_mnist, folder, idx, mnist, synthetic, table",
        ],
    ),
    (["budget=huge"], ["unknown budget=huge", "There are: full, laptop, smoke"]),
    (["split"], ["cannot read 'split': expected key=value"]),
    (["split==70"], ["cannot read 'split==70': expected key=value"]),
    (["split=70,90"], ["several runs: put -m first", "python train.py -m split=70,90"]),
    (["split=${nothing}"], ["Interpolation key 'nothing' not found"]),
]
OLD_WORDS = [
    (["transfer=frozen"], ["transfer is now start=", "transfer=frozen is start=run train=head"]),
    (
        ["variant.transfer=joint"],
        ["variant.transfer=joint is start=run train=all extra_loss=joint"],
    ),
    (["-m", "transfer=frozen,clusters"], ["transfer is now start=init|run, train=head"]),
    (["+transfer=finetune"], ["transfer=finetune is start=run train=all"]),
    (["pretext=denoise"], ["pretext is now pretraining: pretraining=denoise"]),
    (["pretext.noise=0.3"], ["pretext.noise is now pretraining.noise"]),
    (["pool=all_species"], ["pool=all_species is now pool=all_classes"]),
    (["data.species=3"], ["data.species is now data.classes: data.classes=3"]),
    (["data.size=64"], ["data.size is now image.size: image.size=64"]),
    (["encoder.module=unet"], ["encoder.module is now encoder.part: encoder.part=unet"]),
    (["joint_weight=2"], ["joint_weight is now extra_loss.weight"]),
    (["threshold=0.9"], ["threshold is now extra_loss.threshold, with extra_loss=fixmatch"]),
    (["views=3"], ["views is now budget.views: budget.views=3"]),
]
WRONG_VALUES = [
    (["split=-1"], ["split=-1", "choose 0 to 99"]),
    (["split=100"], ["split=100", "choose 0 to 99"]),
    (["split=170"], ["split=170", "choose 0 to 99"]),
    (["split=abc"], ["split=abc", "choose 0 to 99"]),
    (
        ["split=99"],
        ["split=99 leaves CROW with no labelled image out of its 10", "choose a smaller split"],
    ),
    (
        ["split=2"],
        ["split=2 leaves CROW with no unlabelled image out of its 10", "choose a larger split"],
    ),
    (["seed=-1"], ["seed=-1", "0 or more"]),
    (["noise=-0.1", "variant=DAE"], ["noise=-0.1", "choose 0 to 1"]),
    (["noise=2", "variant=DAE"], ["noise=2", "choose 0 to 1"]),
    (
        ["noise=0.1", "variant=DVAE", "pretraining.noise=1.2"],
        ["noise=1.2", "choose 0 to 1"],
    ),
    (["variant=DVAE", "skips=plain"], ["skips=plain", "bypass the latent", "choose skips=dropout"]),
    (
        ["variant=DVAE", "skips=narrow"],
        ["skips=narrow", "bypass the latent", "choose skips=dropout"],
    ),
    (
        ["variant=DVAE", "pretraining.free_bits=-1"],
        ["pretraining.free_bits=-1", "choose 0"],
    ),
    (
        ["variant=B2", "pretraining=masked", "pretraining.hidden=1"],
        ["pretraining.hidden=1", "0.95"],
    ),
    (
        ["variant=B2", "pretraining=masked", "pretraining.patch=20"],
        ["patch=20", "images of 128 px", "choose 16"],
    ),
    (
        ["variant=B2", "pretraining=masked", "pretraining.patch=0"],
        ["pretraining.patch=0", "choose 1"],
    ),
    (
        ["variant=B2", "pretraining=masked", "pretraining.loss=some"],
        ["pretraining.loss=some", "choose all or hidden"],
    ),
    (["variant=DAE", "train=thawed"], ["train=thawed", "choose head, last_stages or all"]),
    (["start=run", "variant=A", "start=never"], ["start=never", "choose init or run"]),
    (["head=svm"], ["head=svm is fitted on frozen features", "choose train=head"]),
    (["extra_loss=joint"], ["extra_loss=joint"]),
    (["variant=SimCLR", "extra_loss=joint"], ["extra_loss=joint"]),
    (["head=forst"], ["unknown head=forst; did you mean forest?"]),
    (["encoder.part=unett"], ["encoder=unett: this encoder does not exist; did you mean unet?"]),
    (["+pretraining.hiddn=0.4", "variant=B2"], ["unknown key pretraining.hiddn"]),
    (
        ["variant=SimCLR", "pretraining.temperature=0"],
        ["pretraining.temperature=0", "choose 0.01"],
    ),
    (["lr_decay=0"], ["lr_decay=0", "choose a number above 0 and up to 1"]),
    (["ema=1"], ["ema=1", "below 1"]),
    (["batchnorm=off"], ["batchnorm=", "choose train or frozen"]),
    (
        ["variant=B2", "extra_loss=joint", "extra_loss.weight=-1"],
        ["extra_loss.weight=-1", "choose 0"],
    ),
    (["encoder.norm=layer"], ["encoder.norm=layer", "choose batch or group"]),
    (
        ["pool=nowhere"],
        ["nowhere is not a folder; choose split, all_classes or a folder of images"],
    ),
    (
        ["pool=all_classes"],
        ["pool=all_classes adds no image: all of them are already in the data set"],
    ),
    (["image.size=100"], ["image.size=100 is not a multiple of 16", "choose image.size=96"]),
    (["image.size=136"], ["image.size=136 is not a multiple of 16", "choose image.size=128"]),
    (["image.size=big"], ["image.size=big"]),
    (["image.channels=2"], ["image.channels=2", "choose 3 for colour or 1 for grey"]),
    (
        ["data.test=11"],
        ["CROW has 12 training images", "choose a smaller data.test"],
    ),
    (["data.classes=1"], ["data.classes=1", "choose 2 or more"]),
    (["data.skip_unreadable=perhaps"], ["data.skip_unreadable=perhaps: choose true or false"]),
    (["budget.classify.patience_from=1"], ["budget.classify.patience_from=1", "below 1"]),
    (["budget.classify.lr=-1"], ["budget.classify.lr=-1", "choose a number above 0"]),
    (["slots=0"], ["slots=0: choose auto or the number of parallel runs"]),
    (["slots=true"], ["slots=True: choose auto"]),
    (["threads=0"], ["threads=0: choose auto"]),
    (["device=tpu"], ["device=tpu is not supported; choose auto, cpu, mps, cuda or cuda:N"]),
    (["device=1"], ["device=1 is not supported; choose auto, cpu, mps, cuda or cuda:N"]),
    (["precision=64"], ["precision=64", "choose auto, 32, bf16 or 16"]),
    (["robustness_images=0"], ["robustness_images=0", "choose 1 or more"]),
    (["features=hot"], ["features=hot", "choose cached or live"]),
    (["dry_run=perhaps"], ["dry_run=perhaps: choose true or false"]),
]


@pytest.mark.parametrize(
    ("words", "phrases"),
    WRONG_WORDS + OLD_WORDS + WRONG_VALUES,
    ids=lambda given: " ".join(given)[:40],
)
def test_what_cannot_be_had_is_refused_with_the_cure(photos, tmp_path, words, phrases):
    multirun = ["-m"] * ("-m" in words)  # -m must be the first word
    others = [word for word in words if word != "-m"]
    assert_refused(train(tmp_path, *multirun, *these(photos), *others), *phrases)
    assert started(tmp_path) == []


def test_a_bad_value_inside_a_sweep_stops_all_of_it(photos, tmp_path):
    asked = train(tmp_path, "-m", *these(photos), "split=70,170", "variant=A,B1")
    assert_refused(asked, "split=170", "choose 0 to 99", "in the job: ", "split=170 variant=A")
    assert started(tmp_path) == []


def test_a_species_too_small_for_one_split_of_a_sweep_stops_all_of_it(photos, tmp_path):
    assert_refused(
        train(tmp_path, "-m", *these(photos), "split=70,99"), "split=99 leaves CROW", "in the job: "
    )
    assert started(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "phrases"),
    [
        (["data=folder"], ["data=folder needs data.root=FOLDER", "train|valid|test/<class>/"]),
        (["data=birds525"], ["data=birds525 needs data.root=FOLDER", "BIRDS525_ROOT", "make data"]),
        (
            ["data=folder", "data.root=nowhere"],
            ["nowhere is not a folder", "give the folder of the images"],
        ),
        (
            ["data=folder", "data.root=empty"],
            ["empty contains no image: expected train|valid|test/<class>/"],
        ),
        (["data=folder", "data.root=2024"], ["2024 is not a folder"]),
        (
            ["data=folder", "data.root=above"],
            ["in a subfolder: choose data.root=", "above/birds"],
        ),
    ],
    ids=lambda given: " ".join(given)[:40],
)
def test_photos_that_are_not_there(tmp_path, words, phrases):
    (tmp_path / "empty").mkdir()
    (tmp_path / "above/birds/train").mkdir(parents=True)
    assert_refused(train(tmp_path, *words), *phrases)
    assert started(tmp_path) == []


def test_a_class_with_no_photos(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "photos")
    (root / "train/ZEBRA FINCH").mkdir()
    assert_refused(
        train(tmp_path, *these(root)),
        "class 'ZEBRA FINCH' has no images",
        "fill its folder or remove it",
    )
    assert started(tmp_path) == []


def test_an_unreadable_photo_is_named_and_can_be_left_out(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "photos")
    (root / "train/ROBIN/004.jpg").write_bytes(b"\xff\xd8 cut short")
    asked = train(tmp_path, *these(root))
    assert_refused(
        asked, f"unreadable image {root}/train/ROBIN/004.jpg", "data.skip_unreadable=true"
    )
    asked = train(tmp_path, *these(root), "data.skip_unreadable=true", "dry_run=true")
    assert asked.returncode == 0, asked.stderr
    assert KEY.match(asked.stdout)
    assert started(tmp_path) == []


@pytest.mark.parametrize("door", [[], ["-m"]])
def test_a_pool_that_holds_photos_to_be_judged_on(photos, tmp_path, draw_photo, door):
    own = tmp_path / "own"
    own.mkdir()
    draw_photo(77_000).save(own / "new.jpg")
    for number, part in enumerate(("valid", "test", "test"), 1):
        shutil.copy(photos / part / "WREN" / f"00{1 + number // 3}.jpg", own / f"{number}.jpg")
    asked = train(tmp_path, *door, *these(photos), "variant=B2", f"pool={own}", "dry_run=true")
    assert asked.returncode == 0, asked.stderr
    said = asked.stdout + asked.stderr
    assert "3 unlabelled images that are also in validation or test, left out: 1.jpg, 2.jpg" in said
    assert "28 unlabelled" in said


@pytest.mark.parametrize("door", [[], ["-m"]])
def test_a_runs_folder_that_cannot_be_written(photos, tmp_path, door):
    (tmp_path / "file").write_text("in the way")
    asked = train(tmp_path, *door, *these(photos), f"runs_dir={tmp_path}/file/runs")
    assert_refused(asked, "cannot write", f"{tmp_path}/file", "runs_dir=FOLDER")


def test_a_cache_folder_that_cannot_be_written(photos, tmp_path):
    (tmp_path / "file").write_text("in the way")
    asked = train(tmp_path, *these(photos), f"cache_dir={tmp_path}/file/cache")
    assert_refused(asked, f"cannot write in {tmp_path}/file/cache", "cache_dir=FOLDER")
    assert started(tmp_path) == []


@pytest.mark.parametrize("door", [[], ["-m"]])
def test_a_record_of_another_recipe_is_not_taken_for_this_one(photos, tmp_path, door):
    key = train(tmp_path, *these(photos), "dry_run=true").stdout.split()[0]
    names = ("family", "stage", "variant", "data_digest", "split_digest", "data_name", "git_sha")
    old = dict.fromkeys(names, "") | {
        "recipe": RECIPE + 1,
        "key": key,
        "split": 90,
        "seed": 0,
        "git_dirty": False,
    }
    record = tmp_path / "runs" / key / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(old))
    asked = train(tmp_path, *door, *these(photos))
    assert not (tmp_path / "runs/sweeps/last/sweep.json").exists()
    assert_refused(
        asked,
        f"a record of recipe {RECIPE + 1}",
        f"not of run {key}",
        "move that folder away or choose",
    )
    assert started(tmp_path) == [str(record.parent), str(record)]
    assert json.loads(record.read_text()) == old


def test_looking_for_what_is_not_there(tmp_path):
    assert_refused(birds(tmp_path, "table", "nosuch"), "nosuch")
    assert_refused(
        birds(tmp_path, "predict", "nosuch", "x.jpg"),
        "no single run 'nosuch' (none in runs)",
        "dry_run=true",
    )
    assert_refused(birds(tmp_path, "data", "check", "nosuch"), "nosuch is not a folder")
    assert_refused(birds(tmp_path, "data", "preview", "nosuch"), "nosuch is not a folder")
    assert list(tmp_path.iterdir()) == []


def test_unreadable_photos_found_by_the_check(photos, tmp_path):
    root = shutil.copytree(photos, tmp_path / "photos")
    (root / "train/ROBIN/004.jpg").write_bytes(b"")
    asked = birds(tmp_path, "data", "check", str(root))
    assert_refused(asked, "1 unreadable images", "data.skip_unreadable=true")
    assert "train/ROBIN/004.jpg" in asked.stdout


def test_a_disk_that_fills_up_loses_nothing(photos, tmp_path):
    """A limit on the size of files simulates a full disk: first for the cache, then for a
    checkpoint.
    """
    for limit in (200_000, 3_000_000):
        words = [sys.executable, str(TRAIN), *these(photos)]
        limited = (
            f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, "
            f"{limit}))"
        )
        asked = call(
            [sys.executable, "-c", f"{limited}; os.execv(sys.argv[1], sys.argv[1:])", *words],
            tmp_path,
        )
        assert asked.returncode == 2, asked.stderr
        assert "disk full while writing" in asked.stderr.splitlines()[-1]
        assert "Traceback" not in asked.stderr
        assert not list((tmp_path / "runs").glob("*/record.json"))
        drafts = [path for path in (tmp_path / "runs").rglob(".*") if path.is_file()]
        assert drafts == [], "a half-written file was left"
    assert train(tmp_path, *these(photos)).returncode == 0
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 1
