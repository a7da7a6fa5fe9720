"""Recognises a torchvision that does not match the installed PyTorch, and says what to do.

torchvision on PyPI is built for CUDA. With the CPU build of PyTorch it cannot register its
operators, and everything that imports it fails, such as Lightning and torchmetrics.
"""

import importlib.util
from importlib import metadata

CURE = (
    "torchvision does not match the installed PyTorch (operator torchvision::nms does not exist). "
    "Install a matching pair, for example with pip install --force-reinstall "
    "torch torchvision --index-url https://download.pytorch.org/whl/cpu, or remove it: pip "
    "uninstall torchvision"
)


def broken_pair(error: BaseException) -> str | None:
    """What to do about an error caused by such a pair; None for other errors."""
    seen: BaseException | None = error
    while seen is not None:
        if "torchvision::nms" in str(seen):
            return CURE
        seen = seen.__cause__ or seen.__context__
    return None


def examine_pair() -> tuple[str, bool]:
    """A line on the installed PyTorch and torchvision, and whether they match."""
    torch_version = metadata.version("torch")
    if importlib.util.find_spec("torchvision") is None:
        return (
            f"torch {torch_version}, no torchvision: only encoder=torchvision needs it",
            True,
        )
    try:
        import torchvision
    except Exception as error:
        words = (
            broken_pair(error) or f"torchvision cannot be imported: {type(error).__name__}: {error}"
        )
        return f"torch {torch_version}: {words}", False
    return f"torch {torch_version} and torchvision {torchvision.__version__} match", True
