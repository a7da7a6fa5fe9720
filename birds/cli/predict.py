"""`birds predict SWEEP|KEY PLACE ...`: classify images with a run or a model file.

A place is an image or a folder; subfolders are included. `--csv` writes one row for each image at
once, so memory does not grow with the number of images. Probabilities are calibrated on the run's
validation images. An image is `unsure` when its highest probability is below `--unsure`.
"""

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from birds.cli.progress_bar import progress_bar
from birds.core.errors import refuse_odd_file
from birds.core.spec import UserError
from birds.core.store import write_atomically
from birds.core.sweep import LAST

if TYPE_CHECKING:
    from birds.use.predict import Prediction

Predictions = Iterator["Prediction"]
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")  # what pictures are written as
TOP = 5


def add_command(commands: Any) -> None:
    """Add `predict` to what `add_subparsers()` returned."""
    predict = commands.add_parser(
        "predict",
        help="classify images with a run or a model file, with probabilities",
        description=__doc__,
    )
    option = predict.add_argument
    option("--model", type=Path, help="a file from `birds quantize`, instead of RUN; without torch")
    option(
        "names",
        nargs="+",
        metavar="[RUN] IMAGE",
        help="key or folder of a run, or a sweep (its best run); then images and folders",
    )
    option("--csv", type=Path, help="write one row for each image into this file")
    option("--picture", type=Path, help="write contact sheets of the images with their classes")
    option("--pages", type=int, default=100, help="maximum number of sheets (default: 100)")
    option(
        "--unsure",
        type=float,
        default=0.5,
        metavar="P",
        help="an image is unsure if its highest probability is below P (default: 0.5)",
    )
    predict.set_defaults(act=_predict)


def _predict(args: argparse.Namespace) -> None:
    from birds.use.picture import Sheets

    if args.picture:
        refuse_odd_file(args.picture, PICTURES)
    if args.csv:
        refuse_odd_file(args.csv, (".csv",))
    sheets = Sheets(args.picture, args.pages) if args.picture else None
    places, predictions, sentence = _predictions(args)
    with progress_bar(places) as advance:
        if args.csv:
            counted = _written(args.csv, _seen(predictions, advance, sheets))
        else:
            counted = _printed(_seen(predictions, advance, sheets))
    _say_what_was_done(args, counted, sentence, sheets)


def _seen(predictions: Predictions, advance: Callable[[], object], sheets: Any) -> Predictions:
    """Passes predictions on; advances the progress bar and fills the sheets on the way."""
    for prediction in predictions:
        advance()
        if sheets:
            sheets.add(prediction)
        yield prediction


def _printed(predictions: Predictions) -> Counter[str]:
    counted = Counter[str]()
    for prediction in predictions:
        _count(prediction, counted)
        print(prediction.path)
        if prediction.error:
            print(f"  cannot be read ({prediction.error})")
        for (name, probability), logit in zip(prediction.ranked, prediction.logits, strict=True):
            print(f"  {probability:6.1%}  {logit:7.2f}  {name}")
        if prediction.unsure:
            print("  unsure")
    return counted


def _written(file: Path, predictions: Predictions) -> Counter[str]:
    """Write one row for each image; the file appears only when it is complete."""
    counted = Counter[str]()

    def write(out: IO[bytes]) -> None:
        text = io.TextIOWrapper(out, encoding="utf-8", errors="surrogateescape", newline="")
        rows = csv.writer(text)
        rows.writerow(_head())
        for prediction in predictions:
            _count(prediction, counted)
            rows.writerow(_cells(prediction))
        text.flush()
        text.detach()

    write_atomically(file, write)
    return counted


def _count(prediction: "Prediction", counted: Counter[str]) -> None:
    counted["images"] += not prediction.error
    counted["unsure"] += prediction.unsure
    counted["unreadable"] += bool(prediction.error)


def _predictions(args: argparse.Namespace) -> tuple[list[Path], Predictions, str]:
    """The places, the predictions of their images, and a sentence that explains `unsure`."""
    if args.model:
        from birds.use.predict import image_files
        from birds.use.quantize.predict import predict_with_model

        places = _existing(args.names)
        return places, iter(predict_with_model(args.model, list(image_files(places)))), ""
    from birds.cli.chosen_run import chosen_run, words_of
    from birds.use.calibration import calibration_of
    from birds.use.networks import opened_classifier
    from birds.use.predict import image_files, stream_predictions

    run, *names = args.names
    if not names:
        if Path(run).exists():  # the images are there, and the run is not
            raise UserError(
                f"no run: name a sweep or a run first, as in birds predict {LAST} {run} (the best "
                "run of the newest sweep), or a file with birds predict --model FILE"
            )
        raise UserError(
            f"no images: birds predict {run} IMAGE ..., or birds predict --model FILE IMAGE ..."
        )
    folder = chosen_run(args.runs_dir, run)
    places = _existing(names)
    calibration = calibration_of(folder, args.unsure)
    classify, look, classes = opened_classifier(folder)
    print(f"predict: run {words_of(folder)}", file=sys.stderr)
    has_folder = any(place.is_dir() for place in places)
    predictions = stream_predictions(
        classify,
        look,
        classes,
        image_files(places),
        calibration,
        top=TOP,
        skip_unreadable=has_folder,
    )
    return places, predictions, calibration.sentence()


def _existing(names: list[str]) -> list[Path]:
    """The places as paths. Raises UserError for a folder without images."""
    from birds.use.predict import image_files

    places = [Path(name) for name in names]
    for place in places:
        if place.is_dir() and next(image_files([place]), None) is None:
            raise UserError(
                f"{place} contains no image, in no subfolder either; give another folder"
            )
    return places


def _head() -> list[str]:
    head = ["file", "class", "probability", "logit", "unsure"]
    for place in range(2, TOP + 1):
        head += [f"class_{place}", f"probability_{place}", f"logit_{place}"]
    return [*head, "error"]


def _cells(prediction: "Prediction") -> list[str]:
    words: list[str] = []
    for (name, chance), logit in zip(prediction.ranked, prediction.logits, strict=True):
        words += [name, f"{chance:.4f}", f"{logit:.4f}"]
    words += [""] * (3 * TOP - len(words))
    unsure = "" if prediction.error else str(prediction.unsure).lower()
    return [str(prediction.path), *words[:3], unsure, *words[3:], prediction.error]


def _say_what_was_done(
    args: argparse.Namespace, counted: Counter[str], sentence: str, sheets: Any
) -> None:
    if args.csv:
        words = f"{counted['images']} images, {counted['unsure']} unsure"
        print(f"{words}, {counted['unreadable']} unreadable. {sentence}".strip())
        print(f"Written: {args.csv}")
    elif sentence:
        print(sentence, file=sys.stderr)
    if sheets is None:
        return
    sheets.close()
    last = f" to {sheets.written[-1]}" if len(sheets.written) > 1 else ""
    print(f"Written: {sheets.written[0]}{last}")
    if sheets.left_out:
        print(f"{sheets.left_out} more images did not fit; allow more sheets with --pages N")
