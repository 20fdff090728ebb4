"""What clipped updates with Gaussian noise are worth: ε of one device over all of its rounds."""

from __future__ import annotations

import math

# SciPy takes half a second to import, and a server or node without noise needs none of it.

DELTA = 1e-5
"""The chance δ that reported ε are for."""


def delta(epsilon: float, mu: float) -> float:
    """δ(ε) = Φ(−ε/μ + μ/2) − e^ε·Φ(−ε/μ − μ/2), exact for μ-Gaussian differential privacy.

    Balle & Wang 2018 (arXiv 1805.06530), Dong, Roth & Su 2019 (arXiv 1905.02383). The second term is taken
    in logarithms: e^ε overflows where noise is small.
    """
    from scipy.special import log_ndtr, ndtr

    first = ndtr(mu / 2 - epsilon / mu)
    return float(first - math.exp(min(epsilon + log_ndtr(-mu / 2 - epsilon / mu), 0.0)))


def gaussian_mu(noise: float, rounds: int) -> float:
    """μ = √T·2/σ of T updates with noise N(0, (σC)²I), each in a ball of radius C.

    Local model: two histories of one device may give any two points of the ball, which are 2C apart
    (replacement). No sampling helps: the server knows who took part.
    """
    return math.sqrt(rounds) * 2 / noise


def local_epsilon(noise: float, rounds: int, at: float = DELTA) -> float:
    """The smallest ε ≥ 0 with δ(ε) ≤ ``at`` after ``rounds`` updates of one device; noise is σ > 0."""
    from scipy.optimize import brentq
    from scipy.special import ndtri

    mu = gaussian_mu(noise, rounds) if rounds else 0.0
    if mu == 0 or delta(0.0, mu) <= at:
        return 0.0
    most = mu * mu / 2 + mu * -float(ndtri(at / 2))  # the first term alone is at/2 there
    return float(brentq(lambda epsilon: delta(epsilon, mu) - at, 0.0, most, rtol=1e-13))
