"""`birds export SWEEP|KEY FOLDER`: write a finished classifier as files for other programs.

The folder gets an ONNX file, safetensors of the encoder and of the whole classifier, the labels,
an example program that loads the model, and a model card.
"""

import argparse
from pathlib import Path
from typing import Any

CARD = "README.md"


def add_command(commands: Any) -> None:
    """Add `export` to what `add_subparsers()` returned."""
    words = "write a run's model as ONNX and safetensors, with its labels and a model card"
    export = commands.add_parser("export", help=words, description=__doc__)
    export.add_argument("run", help="key or folder of a run, or a sweep (its best run)")
    export.add_argument("out", type=Path, help="output folder: new, empty, or an older export")
    export.add_argument("--no-onnx", action="store_true", help="do not write the ONNX file")
    export.add_argument(
        "--unsure",
        type=float,
        default=0.5,
        metavar="P",
        help="the card gives the error rate below and above this probability (default: 0.5)",
    )
    export.set_defaults(act=_export)


def _export(args: argparse.Namespace) -> None:
    from birds.cli.chosen_run import chosen_run, words_of
    from birds.use.export import refuse_other_folder

    refuse_other_folder(args.out)
    folder = chosen_run(args.runs_dir, args.run)
    from analysis.model_card import model_card
    from birds.core.store import write_text
    from birds.use.calibration import calibration_of
    from birds.use.export import export_model

    calibration = calibration_of(folder, args.unsure)
    written = export_model(folder, args.out, calibration, onnx=not args.no_onnx)
    sizes = {file.name: file.stat().st_size for file in written}
    card = args.out / CARD
    write_text(card, model_card(folder, sizes, calibration.sentence()))
    print(f"Exported: run {words_of(folder)}")
    for file in [card, *written]:
        print(f"  {file}")
