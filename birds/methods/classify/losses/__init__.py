"""Extra losses on unlabelled images, which a classifier adds to the loss on labelled images.

An extra loss is an `nn.Module` made from (options, classifier, job); `loss(classifier, data)` gives
its value for a step. No loss sees a label of an unlabelled image: the data gives images and rows.
"""

from typing import Any

from birds.core.parts import options_of, part_class
from birds.core.spec import Part


def create_loss(part: Part, classifier: Any, job: Any) -> Any:
    """The extra loss of this part; None if the part is `none`."""
    made_by = part_class("extra_loss", part.place)
    if not made_by.learns:
        return None
    return made_by(options_of("extra_loss", part), classifier, job)
