"""`birds data`: download, check and preview images."""

import argparse
from pathlib import Path
from typing import Any

from birds.cli.predict import PICTURES
from birds.core.errors import refuse_odd_file
from birds.core.spec import UserError


def add_command(commands: Any) -> None:
    """Add `data` to what `add_subparsers()` returned."""
    what = commands.add_parser("data", help="obtain, check and preview images of a data set")
    data = what.add_subparsers(required=True, metavar="WHAT")
    obtain = data.add_parser("obtain", help="explain how to obtain BIRDS 525 SPECIES or MNIST")
    obtain.add_argument(
        "name", nargs="?", default="birds525", help="birds525 or mnist (default: birds525)"
    )
    obtain.set_defaults(act=_obtain)
    check = data.add_parser("check", help="count images; list unreadable files and duplicates")
    check.add_argument("root", type=Path, help="the folder of the images")
    check.add_argument(
        "--groups",
        type=Path,
        metavar="FILE.csv",
        help="write a new table with a column of likely groups (near duplicates, photos taken "
        "within seconds of each other); data=table can read it",
    )
    check.set_defaults(act=_check)
    preview = data.add_parser("preview", help="write a contact sheet of example images")
    preview.add_argument(
        "root", type=Path, nargs="?", help="the folder of the images (default: drawn birds)"
    )
    preview.add_argument("--out", type=Path, help="the file to write (default: runs/preview.png)")
    preview.set_defaults(act=_preview)
    for command in (check, preview):
        command.add_argument(
            "--source",
            metavar="NAME",
            default="folder",
            help="how the images are read: folder (of classes), table, idx, or "
            "package.module:Class (default: folder)",
        )
        command.add_argument(
            "--option",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="an option of the source, such as columns.label=species; can be repeated",
        )


def chosen_source(root: Path, name: str, words: list[str]) -> Any:
    """A source of images by name, over a folder, with options written `key=value`.

    Raises UserError for an unknown source or option.
    """
    import yaml

    from birds.core.parts import chosen_part
    from birds.data.prepare import create_source

    options: dict[str, Any] = {"name": name, "root": str(root)}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise UserError(f"--option {word}: expected KEY=VALUE, as in --option delimiter=;")
        *groups, last = key.split(".")
        place = options
        for group in groups:
            place = place.setdefault(group, {})
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            place[last] = value
    return create_source(chosen_part("source", options))


def _obtain(args: argparse.Namespace) -> None:
    from birds.data.obtain import how_to_obtain

    print(how_to_obtain(args.name))


def _check(args: argparse.Namespace) -> None:
    from birds.data.check import as_text, check_source

    source = chosen_source(args.root, args.source, args.option)
    if args.groups is not None and args.groups.exists():
        raise UserError(
            f"--groups {args.groups}: this file exists already and is not overwritten; choose "
            "another name"
        )
    report = check_source(source)
    print(as_text(report))
    _groups(report, source, args.groups)
    if count := len(report.unreadable):
        raise UserError(
            f"{count} unreadable images: repair them, or train with data.skip_unreadable=true"
        )


def _groups(report: Any, source: Any, file: Path | None) -> None:
    """Print which images likely belong together; write them to `file` if one is given."""
    from birds.data.grouping import as_lines, likely_groups, moments_of, write_groups

    if not hasattr(source, "file"):  # the images are not separate files
        if file is not None:
            raise UserError(
                f"--groups {file}: the images of this source are not separate files, so a table "
                "cannot list them"
            )
        return
    files = {item.id: source.file(item.id) for item in report.images}
    moments = moments_of(report, files)
    groups = likely_groups(report, moments)
    print("\n".join(as_lines(report, groups, len(moments))))
    if file is not None:
        write_groups(file, report.images, groups)
        print(
            f"Written: {file}; check it, then train with: data=table "
            f"data.root={source.place} data.table.file={file.resolve()}"
        )


def _preview(args: argparse.Namespace) -> None:
    from birds.data.preview import contact_sheet

    out = args.out or args.runs_dir / "preview.png"
    if args.out:
        refuse_odd_file(out, PICTURES)
    if args.root is None:
        source = chosen_source(args.runs_dir / "synthetic", "rendered", [])
    else:
        source = chosen_source(args.root, args.source, args.option)
    sheet = contact_sheet(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)
    print(f"Written: {out}")
