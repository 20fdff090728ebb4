"""Mean and confidence interval over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

T_975 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t at .975 for 0..9 degrees of freedom; the normal 1.96 beyond."""


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the 95 % t interval; the width is NaN for one value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan
    freedom = len(values) - 1
    t = T_975[freedom] if freedom < len(T_975) else 1.96
    return mean, t * statistics.stdev(values) / math.sqrt(len(values))
