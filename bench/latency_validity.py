"""Is the race to be believed? It is repeated a hundred times on models whose ratio is known.

Wanted: the interval of a model against itself covers 1 in at least 95 of 100 repetitions, and a
slowdown of 10 % is found (its interval excludes 1) in at least 95 of 100.

    python bench/latency_validity.py            simulated times: heavy tails, drift, a neighbour
    that comes and goes python bench/latency_validity.py --real     a convolutional network on this
    machine, timed for real

The simulated machine is a bad one: jitter of 4 % a call, a clock that wanders, 3 % of calls
interrupted for a time whose mean is twice the call and whose variance is infinite, and a neighbour
that slows all by 1.9 during a seventh of the time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from birds.use.latency.race import CALLS, Classifier, Contestant, Images, orders, pinned, raced
from birds.use.latency.statistics import SameAgainstSame, coverage, ratio_interval

NAMES = ("model", "model again", "model slowed", "another", "a third")
RATIOS = (1.0, 1.0, 1.1, 3.0, 2.0)


def simulated(
    ratios: Sequence[float],
    rounds: int,
    random: np.random.Generator,
    *,
    jitter: float = 0.04,
    wander: float = 0.02,
    interrupted: float = 0.03,
    comes: float = 0.04,
    goes: float = 0.25,
    slowed_by: float = 1.9,
) -> NDArray[np.float64]:
    """Times in each round, (rounds, models), of models that take `ratios` times as long, on a noisy
    machine.

    The clock and the neighbour live in time, not in models: they are the same for whoever is timed
    at that moment.
    """
    times = np.empty((rounds, len(ratios)))
    clock, busy = 0.0, False
    for number, order in enumerate(orders(["run"] * len(ratios), rounds, random)):
        for k in order:
            clock = 0.98 * clock + wander * random.standard_normal()
            busy = random.random() >= goes if busy else random.random() < comes
            calls = (
                ratios[k]
                * np.exp(clock + jitter * random.standard_normal(CALLS))
                * (slowed_by if busy else 1)
            )
            calls *= 1 + np.where(random.random(CALLS) < interrupted, random.pareto(1.5, CALLS), 0)
            times[number, k] = calls.min()
    return times


def measured(
    rounds: int, random: np.random.Generator, classify: Classifier, photos: Images
) -> NDArray[np.float64]:
    """Times in each round, (rounds, 3), of one model, the same model again, and the same slowed by
    10 %.
    """
    ways = (classify, classify, slowed(classify))
    contestants = [
        Contestant("run", name, way, photos) for name, way in zip(NAMES, ways, strict=False)
    ]
    times = raced(contestants, rounds=rounds, seconds=0, random=random)
    return np.stack([one.rounds for one in times], axis=1)


def slowed(classify: Classifier, by: float = 0.1) -> Classifier:
    """The same model, whose every call then waits for a tenth of what it took."""

    def slow(photos: Images) -> NDArray[np.float32]:
        began = time.perf_counter_ns()
        logits = classify(photos)
        until = began + (1 + by) * (time.perf_counter_ns() - began)
        while time.perf_counter_ns() < until:
            pass
        return logits

    return slow


def small_network() -> tuple[Classifier, Images]:
    """The encoder `unet_s` with random weights and a linear head, on one image of 128 pixels, by
    PyTorch on one thread.
    """
    import torch

    from birds.core.spec import ImageChoices, Part
    from birds.encoders import create_encoder
    from birds.methods.classify._network import Network
    from birds.methods.classify.heads import create_head
    from birds.use.latency.entries import OnPixels

    torch.set_num_threads(1)
    part = Part(name="unet_s", part="unet", options={"stem": 2, "widths": (24, 48, 96, 192)})
    encoder = create_encoder(part, ImageChoices(size=128))
    head = create_head(Part(name="linear", part=""), encoder.feature_dim, 24)
    network = OnPixels(Network(encoder, head)).eval()

    def classify(images: Images) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: NDArray[np.float32] = network(torch.from_numpy(images)).numpy()
        return logits

    return classify, np.random.default_rng(0).integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)


class Judgement(NamedTuple):
    """In how many repetitions the model against itself covered 1, the slowdown was found, and the
    check said noisy.
    """

    covered: int
    found: int
    noisy: int
    width: float


def judged(
    repetitions: int, race: Callable[[np.random.Generator], NDArray[np.float64]]
) -> Judgement:
    """Race again and again, and count. width is the mean over repetitions, of the model against
    itself.

    Args:
        repetitions: how many races.
        race: one race, given its randomness: times of the rounds, (R, 3 or more), in the order of
            `NAMES`.
    """
    covered, found, noisy, width = 0, 0, 0, 0.0
    for k in range(repetitions):
        times = race(np.random.default_rng(k))
        same, slow = (
            ratio_interval(times[:, 1], times[:, 0]),
            ratio_interval(times[:, 2], times[:, 0]),
        )
        covered += same.covers(1.0)
        found += slow.low > 1
        noisy += SameAgainstSame(same).noisy
        width += (same.high - same.low) / repetitions
    return Judgement(covered, found, noisy, width)


def main() -> None:
    """Print both counts."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--real", action="store_true", help="time a network on this machine")
    command.add_argument("--repetitions", type=int, default=100)
    command.add_argument("--rounds", type=int, default=101)
    asked = command.parse_args()
    if asked.real:
        classify, photos = small_network()
        with pinned(1):
            result = judged(
                asked.repetitions, lambda random: measured(asked.rounds, random, classify, photos)
            )
    else:
        result = judged(asked.repetitions, lambda random: simulated(RATIOS, asked.rounds, random))
    print(
        f"{'measured' if asked.real else 'simulated'}, {asked.rounds} rounds, {asked.repetitions} "
        "repetitions"
    )
    expected = coverage(asked.rounds)
    print(
        f"model against itself covers 1: {result.covered} (in theory {expected:.1%}); mean width "
        f"{result.width:.3f}"
    )
    print(f"slowdown of 10 % found: {result.found}")
    print(f"called too noisy to rank models within 5 %: {result.noisy}")


if __name__ == "__main__":
    main()
