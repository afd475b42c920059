"""Ratios of paired measurements."""

import random
import statistics


def ratio(took: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Median of the paired ratios and its 95 % interval by bootstrap."""
    pairs = [a / b for a, b in zip(took, reference, strict=True)]
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(pairs, k=len(pairs))) for _ in range(1000))
    return statistics.median(pairs), medians[25], medians[974]
