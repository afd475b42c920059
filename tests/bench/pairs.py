"""Ratios of paired measurements."""

import random
import statistics


def ratio(took: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Median of the paired ratios and its 95 % interval by bootstrap."""
    pairs = [a / b for a, b in zip(took, reference, strict=True)]
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(pairs, k=len(pairs))) for _ in range(1000))
    return statistics.median(pairs), medians[25], medians[974]


def signed_rank(first: list[float], second: list[float]) -> float:
    """Wilcoxon's signed-rank test of paired measurements: the two-sided p, exact, ties sharing their ranks."""
    differences = sorted((a - b for a, b in zip(first, second, strict=True) if a != b), key=abs)
    # Twice the ranks, so that shared ones are whole numbers too.
    sizes = [abs(d) for d in differences]
    ranks = [2 * sizes.index(size) + sizes.count(size) + 1 for size in sizes]
    seen = sum(rank for rank, d in zip(ranks, differences, strict=True) if d > 0)
    # How many of the 2^n ways to choose signs give each sum of positive ranks.
    ways = {0: 1}
    for rank in ranks:
        for total, count in list(ways.items()):
            ways[total + rank] = ways.get(total + rank, 0) + count
    middle = sum(ranks) / 2
    extreme = sum(count for total, count in ways.items() if abs(total - middle) >= abs(seen - middle))
    return extreme / 2 ** len(ranks)
