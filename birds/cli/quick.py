"""`birds quick FOLDER|TABLE`: a first look at photos, within a minute and before any sweep.

It cross-validates simple heads on a frozen encoder, with pretrained weights if you have a file of
them. It reports the confused classes, the least confident photos, and how far the unlabelled
photos are from the labelled ones. It then prints the sweep to run next.
"""

import argparse
import shlex
import time
from pathlib import Path
from typing import Any

from birds.core.spec import UserError

LABELS = (1, 2, 5, 10, 20, 50)
TRAINED = 0.7  # share of a class's images left for training after test and validation


def add_command(commands: Any) -> None:
    """Add `quick` to what `add_subparsers()` returned."""
    words = "a first look at photos: accuracy, confused classes, a map, what to do next"
    quick = commands.add_parser("quick", help=words, description=__doc__)
    option = quick.add_argument
    option("place", type=Path, help="a folder of classes, or a CSV of files and labels")
    option("--root", type=Path, help="folder of a table's images (default: the folder of the CSV)")
    option("--unlabelled", type=Path, help="a folder of unlabelled images, with its subfolders")
    option("--weights", help="a file of weights, or pretrained (default: random filters)")
    option("--model", default="mobilenet_v2", help="model of the weights (default: mobilenet_v2)")
    option("--library", choices=("torchvision", "timm"), default="torchvision")
    option("--most", type=int, default=600, help="maximum number of images (default: 600)")
    option("--out", type=Path, help="output folder of the page (default: RUNS_DIR/quick/NAME)")
    option(
        "--option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of the source, such as columns.label=species; can be repeated",
    )
    quick.set_defaults(act=_quick)


def _quick(args: argparse.Namespace) -> None:
    started = time.perf_counter()
    if args.most < 20:
        raise UserError(f"--most {args.most}: choose 20 or more")
    _take_apart(args)
    source, words = _source(args)
    others = _unlabelled(args.unlabelled)
    from birds.use.quick import quick_encoder, quick_look

    encoder = quick_encoder(args.library, args.model, args.weights)
    found = quick_look(source, others, encoder, most=args.most)
    from analysis.quick_page import accuracy_words, confusion_table, distance_words

    known = found.found
    seen = f"{len(found.files)} of {known['labelled']} labelled and {len(found.files_unlabelled)} "
    paragraphs = [
        f"Used {seen}of {known['unlabelled']} unlabelled photos with {_said(args)}.",
        accuracy_words(found),
        confusion_table(found),
        distance_words(found),
        f"Run this sweep next, to find out {_question(found)}:",
        "  " + _command(args, words, found),
    ]
    if known["groups"] < len(found.label):
        paragraphs[1] += (
            f" Images of one group are held out together ({known['groups']} groups, where an image "
            "without a group is one of its own)."
        )
    if found.unreadable:
        paragraphs.insert(
            1,
            f"{len(found.unreadable)} files cannot be read, for example "
            f"{found.unreadable[0]}; birds data check lists them.",
        )
    print("\n\n".join(paragraphs))
    out = args.out or args.runs_dir / "quick" / (args.place.resolve().stem or "photos")
    _write(out, args.place, found, paragraphs)
    seconds = time.perf_counter() - started
    print(f"\nWritten: {out / 'quick.html'}, map.png and unsure.png ({seconds:.0f} s)")


def _take_apart(args: argparse.Namespace) -> None:
    """Read a folder of one folder with classes and one of unlabelled photos as those two."""
    from birds.data.names import means_no_class

    if not args.place.is_dir():
        return
    folders = [path for path in args.place.iterdir() if path.is_dir()]
    unlabelled = [path for path in folders if means_no_class(path.name)]
    classes = [path for path in folders if path not in unlabelled]
    if len(unlabelled) == len(classes) == 1 and not args.unlabelled:
        [args.place], [args.unlabelled] = classes, unlabelled


def _source(args: argparse.Namespace) -> tuple[Any, list[str]]:
    """The source, and the overrides that select it on train.py's command line."""
    from birds.cli.data import chosen_source

    if args.place.is_dir():
        return chosen_source(args.place, "folder", args.option), [
            "data=folder",
            f"data.root={args.place.resolve()}",
        ]
    if not args.place.is_file():
        raise UserError(
            f"{args.place} is neither a folder nor a table; give a folder or a CSV file"
        )
    root = args.root or args.place.resolve().parent
    file = f"file={args.place.resolve()}"
    words = ["data=table", f"data.root={root}", f"data.table.file={args.place.resolve()}"]
    words += [f"data.table.{option}" for option in args.option]
    return chosen_source(root, "table", [file, *args.option]), words


def _unlabelled(folder: Path | None) -> list[Path]:
    if folder is None:
        return []
    from birds.use.predict import image_files

    found = list(image_files([folder])) if folder.is_dir() else []
    if not found:
        raise UserError(f"--unlabelled {folder}: not a folder with images; give another folder")
    return found


def _said(args: argparse.Namespace) -> str:
    if args.weights:
        return f"{args.model} of {args.library}, frozen, weights={args.weights}"
    return (
        "a frozen network of random filters. This gives a lower bound: a pretrained network "
        "(--weights FILE) is usually far better"
    )


def _question(found: Any) -> str:
    if len(found.files_unlabelled):
        return "whether the unlabelled photos help and how many labels are enough"
    return "how many labels are enough"


def _command(args: argparse.Namespace, words: list[str], found: Any) -> str:
    import numpy as np

    least = int(TRAINED * np.bincount(found.label).min())
    unlabelled = bool(len(found.files_unlabelled))
    most = least if unlabelled else least - 1  # labels that are left out serve as unlabelled photos
    counts = [str(count) for count in LABELS if count <= max(most, 1)]
    own = [*words, f"data.classes={len(found.classes)}"]
    if args.unlabelled:
        own.append(f"data.unlabelled={args.unlabelled.resolve()}")
    variants = ["Logistic", "ClassMeans"]
    if unlabelled or most >= 1:
        variants.append("SelfTraining")
    if not args.weights:
        variants.append("A")
    own += [f"data.labels_per_class={','.join(counts)}", f"variant={','.join(variants)}"]
    if args.weights:
        own += [f"encoder={args.library}", f"encoder.model={args.model}"]
        own.append(f"encoder.weights={args.weights}")
    return f"python train.py -m sweeps=labels {' '.join(shlex.quote(word) for word in own)}"


def _write(out: Path, place: Path, found: Any, paragraphs: list[str]) -> None:
    from analysis.quick_page import least_sure, map_figure, page, png
    from birds.core.store import write_text
    from birds.use.picture import COLUMNS, ROWS, annotated
    from birds.use.predict import Prediction

    out.mkdir(parents=True, exist_ok=True)
    unlabelled = bool(len(found.files_unlabelled))
    files = found.files_unlabelled if unlabelled else found.files
    chances = found.probability_unlabelled if unlabelled else found.probability
    shown = []
    for k in least_sure(chances, COLUMNS * ROWS):
        best = chances[k].argsort()[::-1][:3]
        ranked = [(found.classes[c], float(chances[k, c])) for c in best]
        shown.append(Prediction(files[k], ranked, True))
    pictures = {"map": png(map_figure(found)), "unsure": png(annotated(shown))}
    for name, data in pictures.items():
        (out / f"{name}.png").write_bytes(data)
    which = "unlabelled" if unlabelled else "labelled"
    captions = ("The map", f"The {which} photos with the least confident predictions first")
    html = page(
        f"A first look at {place.name}",
        paragraphs,
        list(zip(captions, pictures.values(), strict=True)),
    )
    write_text(out / "quick.html", html)
