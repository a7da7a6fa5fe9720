"""Reads W&B's transaction logs of offline runs, and joins the logs of several attempts.

W&B's client appends a log to the data that W&B has of a run. So the attempts of a requeued run must
be sent in order, and after an interrupted upload the first part would be sent twice. This module
joins all attempts into one log and removes the points that W&B already has.
"""

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]  # made at import

HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
FRAME = struct.Struct("<IHB")  # crc32 of type and data, length of data, type; LevelDB's log format
BLOCK = 32768
FULL, FIRST, MIDDLE, LAST = range(1, 5)


def read_log(path: Path) -> list[Record]:
    """The records of a transaction log, up to the first incomplete or damaged one.

    Empty if the file is not such a log.
    """
    data = path.read_bytes()
    return [Record.FromString(text) for text in _texts(data)] if data.startswith(HEADER) else []


def _texts(data: bytes) -> Iterator[bytes]:
    at, text = len(HEADER), b""
    while at + FRAME.size <= len(data):
        if BLOCK - at % BLOCK < FRAME.size:  # the rest of a block is too short for a frame: padding
            at += BLOCK - at % BLOCK
            continue
        crc, length, kind = FRAME.unpack_from(data, at)
        part = data[at + FRAME.size : at + FRAME.size + length]
        if len(part) < length or zlib.crc32(bytes([kind]) + part) != crc:
            return
        at += FRAME.size + length
        text = part if kind in (FULL, FIRST) else text + part
        if kind in (FULL, LAST):
            yield text


def write_log(records: Iterable[Record]) -> bytes:
    """The bytes of a transaction log with these records."""
    log = bytearray(HEADER)
    for record in records:
        text, first = record.SerializeToString(), True
        while text or first:
            room = BLOCK - len(log) % BLOCK
            if room < FRAME.size:
                log += bytes(room)
                continue
            part, text = text[: room - FRAME.size], text[room - FRAME.size :]
            kind = (FIRST if text else FULL) if first else (MIDDLE if text else LAST)
            log += FRAME.pack(zlib.crc32(bytes([kind]) + part), len(part), kind) + part
            first = False
    return bytes(log)


def joined(attempts: Sequence[Sequence[Record]]) -> list[Record]:
    """One log of all attempts of a run, oldest first, with continuous step numbers.

    Empty when no attempt's log can be read.
    """
    readable = [records for records in attempts if _began(records)]
    whole: list[Record] = []
    for number, records in enumerate(readable):
        left_out: tuple[str, ...] = ()
        if number > 0:
            left_out += ("header", "run")
        if number < len(readable) - 1:
            left_out += ("exit", "final", "footer")
        points = sum(record.HasField("history") for record in whole)
        for record in records:
            if record.WhichOneof("record_type") not in left_out:
                _go_on_from(record, points)
                whole.append(record)
    return whole


def _began(records: Sequence[Record]) -> bool:
    return any(record.HasField("run") for record in records)


def _go_on_from(record: Record, points: int) -> None:
    """Add `points` to the step numbers of a record."""
    for item in _items(record):
        if _name(item) == "_step":
            item.value_json = str(int(item.value_json) + points)
    if record.HasField("history"):
        record.history.step.num += points
    if record.HasField("run"):
        record.run.resume = False  # otherwise the console's lines are appended, too


def without(records: Sequence[Record], points: int) -> list[Record]:
    """The log without its first `points` points, which W&B already has."""
    held = [number for number, record in enumerate(records) if record.HasField("history")][:points]
    return [record for number, record in enumerate(records) if number not in held]


def names_in(records: Iterable[Record]) -> set[str]:
    """The names of all logged values, from points and from the summary."""
    names: set[str] = set()
    for record in records:
        names |= {_name(item) for item in _items(record)}
    return names


def _items(record: Record) -> Sequence[Any]:
    items: Sequence[Any] = (
        record.history.item if record.HasField("history") else record.summary.update
    )
    return items


def _name(item: Any) -> str:
    return str(item.nested_key[0] if item.nested_key else item.key)
