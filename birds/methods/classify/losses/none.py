"""No extra loss: only labelled images are used."""

from typing import Any

from birds.core.spec import Choices


class NoLoss:
    """No loss on unlabelled images."""

    learns = False

    class Options(Choices):
        """No options."""

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Accepts every combination."""
