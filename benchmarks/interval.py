"""Mean and confidence interval over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy import stats


def mean_and_half_width(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the 95 % t interval; the width is NaN for one value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan
    t = float(stats.t.ppf(0.975, len(values) - 1))
    return mean, t * statistics.stdev(values) / math.sqrt(len(values))


def told(values: Sequence[float], form: str = ".4f") -> str:
    """Mean over seeds ± half a 95 % t interval, of one value alone that."""
    mean, half = mean_and_half_width(values)
    return f"{mean:{form}}" + (f" ± {half:{form.lstrip('+')}}" if len(values) > 1 else "")
