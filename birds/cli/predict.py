"""`birds predict RUN IMAGE ...`: classes of images by a run or a model file."""

import argparse
from pathlib import Path
from typing import Any

from birds.core.errors import refuse_odd_file
from birds.core.spec import UserError
from birds.core.store import find_run

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")  # what pictures are written as


def add_command(commands: Any) -> None:
    """Add `predict` to what `add_subparsers()` returned."""
    predict = commands.add_parser(
        "predict", help="classes of images, with probabilities, by a run or a model file"
    )
    predict.add_argument(
        "--model", type=Path, help="a file of `birds quantize`, in place of RUN; needs no torch"
    )
    predict.add_argument(
        "names", nargs="+", metavar="[RUN] IMAGE", help="key or folder of a run, then images"
    )
    predict.add_argument(
        "--picture", type=Path, help="write the images with their classes into this picture"
    )
    predict.set_defaults(act=_predict)


def _predict(args: argparse.Namespace) -> None:
    from birds.use.predict import annotated

    if args.picture:
        refuse_odd_file(args.picture, PICTURES)
    predictions = _predictions(args)
    for prediction in predictions:
        print(prediction.path)
        for name, probability in prediction.ranked:
            print(f"  {probability:6.1%}  {name}")
    if args.picture:
        annotated(predictions).save(args.picture)
        print(f"Written: {args.picture}")


def _predictions(args: argparse.Namespace) -> list[Any]:
    if args.model:
        from birds.use.quantize.predict import predict_with_model

        return predict_with_model(args.model, [Path(name) for name in args.names])
    from birds.use.predict import predict

    run, *images = args.names
    if not images:
        raise UserError(
            f"no images: birds predict {run} IMAGE ..., or birds predict --model FILE IMAGE ..."
        )
    return predict(find_run(args.runs_dir, run), [Path(name) for name in images])
