"""torchvision beside a PyTorch that it was not built for: how it shows, and what cures it.

torchvision on PyPI is built for CUDA. Beside the CPU build of PyTorch it cannot register its own
operators, and whatever imports it fails, Lightning and torchmetrics among them.
"""

import importlib.util
from importlib import metadata

CURE = (
    "torchvision was built for another PyTorch than the one installed (operator torchvision::nms "
    "does not exist). Install the pair that belongs together, such as pip install --force-reinstall "
    "torch torchvision --index-url https://download.pytorch.org/whl/cpu, or remove it: pip "
    "uninstall torchvision"
)


def broken_pair(error: BaseException) -> str | None:
    """What to do about an error that comes of such a pair; None for any other error."""
    seen: BaseException | None = error
    while seen is not None:
        if "torchvision::nms" in str(seen):
            return CURE
        seen = seen.__cause__ or seen.__context__
    return None


def examine_pair() -> tuple[str, bool]:
    """A line on PyTorch and torchvision as installed, and whether they belong together."""
    torch_version = metadata.version("torch")
    if importlib.util.find_spec("torchvision") is None:
        return (
            f"torch {torch_version}, no torchvision: nothing but encoder=torchvision wants it",
            True,
        )
    try:
        import torchvision
    except Exception as error:
        words = (
            broken_pair(error) or f"torchvision cannot be imported: {type(error).__name__}: {error}"
        )
        return f"torch {torch_version}: {words}", False
    return f"torch {torch_version} and torchvision {torchvision.__version__} belong together", True
