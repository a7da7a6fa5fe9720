"""Networks. An encoder module offers `build(stem, widths, norm) -> Encoder`; its name in a YAML offers it."""

import importlib

from birds.models.unet import Encoder
from birds.spec import EncoderChoices, Refused


def build_encoder(choices: EncoderChoices) -> Encoder:
    """The untrained encoder of these choices. Raises Refused when its module does not exist."""
    try:
        module = importlib.import_module(f"birds.models.{choices.module}")
    except ModuleNotFoundError:
        raise Refused(
            f"encoder={choices.name} asks for birds/models/{choices.module}.py, which does not exist"
        ) from None
    encoder: Encoder = module.build(choices.stem, choices.widths, choices.norm)
    return encoder
