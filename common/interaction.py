"""The size of one interaction, as both sides read it from a device's row updates."""

from __future__ import annotations

from torch import Tensor

TINY = 1e-12


def interaction_sizes(norms: Tensor) -> Tensor:
    """c_u = (Σ_i ‖g_ui‖⁴ / Σ_i ‖g_ui‖²)^½, float64 [n], from row norms [n, K].

    The energy-weighted root mean square of a device's row norms. A softmax pulls the row of each next
    item by about one size and spreads as much over all negatives, so weak rows hardly count, and the
    value does not depend on how many interactions the device has. 0 for a device without any.
    """
    square = norms.double().square()  # [n, K]
    return (square.square().sum(1) / square.sum(1).clamp_min(TINY)).sqrt()
