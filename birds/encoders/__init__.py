"""Networks. An encoder module offers `build(stem, widths, norm) -> Encoder`; its name in a YAML
offers it.
"""

import importlib

from birds.core.spec import EncoderChoices, UserError
from birds.encoders.unet import Encoder


def build_encoder(choices: EncoderChoices) -> Encoder:
    """The untrained encoder of these choices. Raises UserError when its module does not exist."""
    try:
        module = importlib.import_module(f"birds.encoders.{choices.module}")
    except ModuleNotFoundError:
        raise UserError(
            f"encoder={choices.name} asks for birds/encoders/{choices.module}.py, which does not exist"
        ) from None
    encoder: Encoder = module.build(choices.stem, choices.widths, choices.norm)
    return encoder
