"""Exports a network as an ONNX graph without any trace of the machine that made it."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


def onnx_graph(network: nn.Module, example: Tensor, given: str, found: str, axes: Any) -> Any:
    """The network as an ONNX model with one input and one output.

    Args:
        network: in evaluation mode.
        example: an input with which it is traced.
        given: the input's name.
        found: the output's name.
        axes: which axes of the input may have another length (torch.export.Dim).

    onnx and onnxscript must be installed.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    names: Any = {"input_names": [given], "output_names": [found], "dynamic_shapes": axes}
    with quiet():  # it warns that torchvision is missing, which is not needed
        program = torch.onnx.export(
            network, (example,), dynamo=True, external_data=False, verbose=False, **names
        )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # the exporter's notes on each node
    return program.model_proto


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, hide all warnings, and log messages below the level of an error."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(logging.NOTSET)
