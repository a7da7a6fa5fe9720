"""A finished classifier as one network, without Lightning, for export and timing."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from birds.core.checkpoint import saved_weights
from birds.core.spec import Part, RunSpec
from birds.core.store import RunFolder
from birds.encoders import Encoder, blank_encoders, create_encoder
from birds.methods.classify.heads import create_head


class Network(nn.Module):
    """An encoder and a head: images (B, C, H, W) as fractions (0 to 1) to logits (B, S)."""

    def __init__(self, encoder: Encoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, image: Float[Tensor, "B C H W"]) -> Float[Tensor, "B S"]:
        """The logits in float32."""
        logits: Tensor = self.head(self.encoder.features(image))
        return logits.float()


def finished_network(spec: RunSpec, head: Part, folder: RunFolder, classes: int) -> Network:
    """The network of a run with its best weights, in evaluation mode and without gradients.

    Raises UserError when the checkpoint is missing or incomplete.
    """
    with blank_encoders():
        encoder = create_encoder(spec.encoder, spec.image)
    network = Network(encoder, create_head(head, encoder.feature_dim, classes))
    network.load_state_dict(saved_weights(folder))
    return network.requires_grad_(False).eval()
