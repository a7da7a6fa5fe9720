"""Reads and writes safetensors files with torch alone.

The format is eight bytes with the length of a JSON header, the header, and the tensors' bytes
(https://github.com/huggingface/safetensors). It cannot contain code. The package safetensors can
read these files, but is not needed here.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from birds.core.errors import UserError
from birds.core.store import write_atomically

NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
ALIGNED = 8  # bytes: blanks extend the header to a multiple of this


def save_tensors(file: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write tensors by name; `about` becomes the file's metadata."""
    header: dict[str, object] = {"__metadata__": dict(about)}
    blocks = []
    end = 0
    for name, tensor in tensors.items():
        block = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        place = [end, end + len(block)]
        shape = list(tensor.shape)
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": shape, "data_offsets": place}
        blocks.append(block)
        end += len(block)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNED)
    head = len(text).to_bytes(8, "little") + text
    write_atomically(file, lambda out: out.writelines([head, *blocks]))


def load_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name. Raises UserError if the file is missing or not valid."""
    types = {name: dtype for dtype, name in NAMES.items()}
    try:
        raw = file.read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:start])
        found = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            block = bytearray(raw[start + first : start + last])
            flat = torch.frombuffer(block, dtype=types[entry["dtype"]])
            found[name] = flat.reshape(entry["shape"])
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):
        raise UserError(f"{file} is not a safetensors file, or is incomplete") from None
    return found
