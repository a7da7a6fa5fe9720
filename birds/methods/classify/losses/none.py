"""No extra loss: only labelled images are used."""

from typing import Any

from birds.core.spec import Choices


class NoLoss:
    """Nothing is learnt beside the labels."""

    learns = False

    class Options(Choices):
        """There is nothing to choose."""

    @classmethod
    def check(cls, options: Any, classifier: Any, spec: Any) -> None:
        """Every combination makes sense."""
