"""Prints errors on the command line in a line or two and chooses the exit status.

The status is 2 for input that cannot be used (nothing was started), 1 for failed runs, 130 for
Ctrl-C. Hydra's errors are translated here, in one place, with the closest existing name. This
module does not import pydantic, so that `--help` starts fast.
"""

import difflib
import errno
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from birds.core.broken_pair import broken_pair
from birds.core.old_words import renamed
from birds.core.process import drop_output, reader_is_gone

INTERRUPTED = 130
READER_GONE = 141  # a shell's status for a program that was ended by SIGPIPE
ELSEWHERE = "choose another with runs_dir=FOLDER"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OPEN_GROUPS = ("hydra", "slurm", "sweeps")  # their keys are checked elsewhere
PLACES = (  # errors of the system for a path that is wrong, missing or not allowed
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)
T = TypeVar("T")


class UserError(ValueError):
    """An input that cannot be used. The message names the input, the reason and the cure.

    The exit status is 2.
    """


class RunsFailed(RuntimeError):
    """Some runs of a sweep failed; their reasons were printed before."""


def exit_status(command: Callable[[], object], elsewhere: str = ELSEWHERE) -> int:
    """Call `command` and return the exit status; print an error that the user can correct.

    Other errors keep their traceback. Nothing is printed if the reader of the output is gone.

    Args:
        command: the function to call.
        elsewhere: how to choose another place if a file cannot be written.
    """
    try:
        command()
        sys.stdout.flush()
    except UserError as refusal:
        return _say(str(refusal), 2)
    except RunsFailed as failure:
        return _say(str(failure), 1)
    except KeyboardInterrupt:
        return _say(
            "stopped; finished runs are kept, and the same command continues from here", INTERRUPTED
        )
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_is_gone():
            drop_output()
            return READER_GONE
        translated = (
            _hydra_sentence(error)
            or _name_sentence(error)
            or _disk_sentence(error, elsewhere)
            or broken_pair(error)
        )
        if translated is None:
            raise
        return _say(translated, 2)
    return 0


def result_or_exit(task: Callable[[], T]) -> T:
    """The result of `task`; on an error, print it as `exit_status` does and exit with its status.

    Inside a Hydra job this prevents Hydra from printing the same error again.
    """
    result: list[T] = []
    if status := exit_status(lambda: result.append(task())):
        raise SystemExit(status)
    return result[0]


def _say(words: str, status: int) -> int:
    print(f"birds: {words}", file=sys.stderr)
    return status


def _disk_sentence(error: Exception, elsewhere: str) -> str | None:
    """A sentence about a file or disk that cannot be read or written; None for other errors."""
    if not isinstance(error, OSError):
        return None
    place = error.filename2 or error.filename
    if error.errno in FULL:
        return f"disk full while writing {place or 'a file'}: free some disk space and try again"
    if error.errno not in PLACES or place is None:
        return None
    if error.errno == errno.ENAMETOOLONG:
        return f"the file name {str(place)[:80]}... is too long: choose a shorter name"
    cure = f"; {elsewhere}" if elsewhere else ""
    what = "find or create" if error.errno == errno.ENOENT else "write"
    return f"cannot {what} {place!s}: {error.strerror}{cure}"


def _name_sentence(error: Exception) -> str | None:
    """A sentence about a file or folder whose name is not UTF-8; None for other errors."""
    if not isinstance(error, UnicodeEncodeError) or error.reason != "surrogates not allowed":
        return None
    around = error.object[max(error.start - 20, 0) : error.end + 20]
    meant = around.encode(errors="surrogateescape").decode("latin-1")
    return (
        f"the name {around!a} is not UTF-8 (perhaps {meant!r}, from an old zip): rename that "
        "file or folder, as with: convmv -r -f latin1 -t utf8 --notest FOLDER"
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean X?` with the closest of `names`, or a full stop if none is close."""
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else "."


def _hydra_sentence(error: Exception) -> str | None:
    """A sentence about an error of Hydra or OmegaConf; None for other errors.

    A missing configuration is an OSError too, so this is called before `_disk_sentence`.
    """
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if str(error).startswith("Only one of --run, --multirun, --cfg"):
        return "-m runs jobs, --cfg and --info only print: use one of them, not both"
    if not isinstance(error, HydraException | OmegaConfBaseException):
        return None
    text = f"{error}\n{error.__cause__ or ''}"
    if found := re.search(
        r"Could not find '([\w/]+)/([^'/]+)'[\s\S]*?Available options in '[^']*':\n([\s\S]*)", text
    ):
        group, option, listed = found.groups()
        listed = listed.partition("Config search path:")[0]
        options = [line.strip() for line in listed.splitlines() if line.startswith("\t")]
        return f"unknown {group}={option}{nearest(option, options)} There are: {', '.join(options)}"
    if found := re.search(
        r"is not in struct\s+full_key: ([^\s\[]+)|Could not override '([^']+)'", text
    ):
        key = found[1] or found[2]
        if old := renamed(key, _value_of(key, text)):
            return old
        return f"unknown key {key}{_where(key)} See python train.py --help"
    if found := re.search(r"Ambiguous value for argument '([^']*)'", text):
        return (
            f"{found[1]} means several runs: put -m first, as in python train.py -m {found[1]}; "
            f"a comma within one value needs quotes: {in_quotes(found[1])}"
        )
    if isinstance(error, OverrideParseException):
        if not re.match(r"[^=]+=[^=]", error.override):
            return f"cannot read {error.override!r}: expected key=value, as in split=70"
        if error.override.endswith(","):
            return f"cannot read {error.override}: put no blank after a comma, as in split=70,90"
        return f"cannot read {error.override}: put the value in quotes: {in_quotes(error.override)}"
    return " ".join(line.strip() for line in str(error).splitlines()[:2])


def in_quotes(override: str) -> str:
    """The override as one types it in a shell, quoted so that Hydra reads its value literally."""
    key, _, value = override.partition("=")
    inner = value.strip("'\"") if value[:1] in ("'", '"') else value
    escaped = re.sub(
        r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), inner
    )
    words = f"{key}='{escaped}'"
    return shlex.quote(words) if set('"$`!\\') & set(inner) else f'"{words}"'


def refuse_unknown_additions(overrides: Iterable[str]) -> None:
    """Raise UserError for `+key=value` if no configuration file has the key.

    Hydra would add such a key silently, and nothing would read it.
    """
    known: set[str] = set()
    for override in overrides:
        added = re.match(r"\+\+?([\w./]+)(?:@[\w.]*)?=", override)
        if added is None or added[1].partition(".")[0] in OPEN_GROUPS:
            continue
        known = known or {name for _, name in _known_keys()}
        key = added[1].replace("/", ".")
        if old := renamed(key, override.partition("=")[2]):
            raise UserError(old)
        if key not in known:
            raise UserError(f"unknown key {key}{nearest(key, known)} See python train.py --help")


def _value_of(key: str, text: str) -> str:
    """The value on the command line; Hydra repeats it when it proposes to append the key."""
    found = re.search(rf"\+{re.escape(key)}=(\S+)", text)
    return found[1] if found else ""


def _where(key: str) -> str:
    """A hint for an unknown key: other choices that have it, longer keys that end in it, or the
    closest key.
    """
    known = list(_known_keys())
    having = [f"{key.partition('.')[0]}={option}" for option, name in known if name == key]
    if having:
        return f": only {' and '.join(having)} have it."
    longer = sorted({name for _, name in known if name.endswith(f".{key}")}, key=_rank)
    if longer:
        others = f" (or {', '.join(longer[1:4])})" if longer[1:] else ""
        return f"; did you mean {longer[0]}{others}?"
    return nearest(key, (name for _, name in known))


def _rank(key: str) -> tuple[int, bool, str]:
    """Sort key: less nested keys come first, and the keys of classifiers before the others."""
    return key.count("."), ".classify." not in key, key


def _known_keys() -> Iterator[tuple[str, str]]:
    """Pairs of a file's name and a dotted key, for every key of every configuration file."""
    import yaml

    configs = Path(os.environ["BIRDS_HOME"]) / "configs"  # set by train.py
    for file in sorted(configs.rglob("*.yaml")):
        group = ".".join(file.parent.relative_to(configs).parts)
        text = file.read_text()
        loaded = yaml.safe_load(text) or {}
        if group:
            yield file.stem, group
        if text.startswith("# @package _global_"):
            group = ""
        own = {k: v for k, v in loaded.items() if k not in ("defaults", "hydra")}
        yield from ((file.stem, key) for key, _ in dotted(own, group))


def dotted(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of nested dictionaries with its value; inner keys are written `outer.inner`."""
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        yield key, value
        if isinstance(value, dict):
            yield from dotted(value, key)


def refuse_odd_file(path: Path, endings: Sequence[str]) -> None:
    """Raise UserError unless `path` can be written and has one of these file extensions."""
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file in it, as in {path / 'NAME'}{endings[0]}")
    if path.suffix.lower() not in endings:
        raise UserError(f"{path}: this file type cannot be written; choose {', '.join(endings)}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path.parent} is not a folder: create it, or choose another place")
