"""How far a host's clock is from the controller's, as far as it can be proven."""

from __future__ import annotations


def proven_offset(samples: list[tuple[float, float, float]]) -> float:
    """Return by how many seconds at least the host is ahead (positive) or behind (negative).

    The host reads its clock at some unknown moment between the controller's two readings, so a slow connection
    proves less and never a wrong offset. Every sample narrows the range.

    :param samples: (controller before, host, controller after), in seconds.
    """
    least = max(host - after for _before, host, after in samples)
    most = min(host - before for before, host, _after in samples)
    if least > 0:
        return least
    return min(most, 0.0)


def uncertainty(samples: list[tuple[float, float, float]]) -> float:
    """Return the width of the range that the samples leave, in seconds."""
    least = max(host - after for _before, host, after in samples)
    most = min(host - before for before, host, _after in samples)
    return most - least


def estimate(samples: list[tuple[float, float, float]]) -> tuple[float, float]:
    """Return the middle of the range that the samples leave, and half its width: the offset and how wrong it may be.

    :param samples: (controller before, host, controller after), in seconds.
    """
    width = uncertainty(samples)
    return max(host - after for _before, host, after in samples) + width / 2, abs(width) / 2
