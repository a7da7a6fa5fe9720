"""AlexNet: it has the published size, can be narrower, and gives the output of every layer."""

from __future__ import annotations

import pytest
import torch

from birds.core.spec import ImageChoices, Part
from birds.encoders import Encoder, create_encoder, sketched_encoder

PUBLISHED = 61_100_840  # torchvision.models.alexnet with 1000 classes


def alexnet(size: int, channels: int = 3, **options: float) -> Encoder:
    part = Part(name="alexnet", options=options)
    return create_encoder(part, ImageChoices.model_validate({"size": size, "channels": channels}))


def test_at_224_pixels_it_has_the_published_number_of_parameters() -> None:
    encoder = sketched_encoder(Part(name="alexnet"), ImageChoices(size=224))
    last_layer = (encoder.feature_dim + 1) * 1000
    assert sum(p.numel() for p in encoder.parameters()) + last_layer == PUBLISHED


@pytest.mark.parametrize("size", [16, 28, 32, 63, 64, 127, 128, 224])
def test_width_scales_it_at_every_size(size: int) -> None:
    narrow = alexnet(size, channels=1, width=0.0625).eval()
    assert narrow.feature_dim == 256
    with torch.no_grad():
        vectors = narrow.layer_vectors(torch.rand(2, 1, size, size))
    assert list(vectors) == narrow.layers()
    lengths = [vector.shape[1] for vector in vectors.values()]
    assert lengths == [4, 12, 24, 16, 16, 256, 256]
    assert len(narrow.depth_groups()) == len(lengths)


def test_a_map_and_a_vector_both_have_names() -> None:
    encoder = create_encoder(Part(name="simple_cnn"), ImageChoices(size=28))
    vectors = encoder.layer_vectors(torch.rand(2, 3, 28, 28))
    assert {name: vector.shape[1] for name, vector in vectors.items()} == {
        "convolution 1": 32,
        "convolution 2": 64,
        "dense": 128,
    }
