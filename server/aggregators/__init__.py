"""Aggregation rules by name: one file a rule, the file name is the key."""

from __future__ import annotations

from common.registry import Component, Registry
from server.aggregators.base import Aggregate, Aggregator, Round, State, weighted_sum
from server.aggregators.bulyan import Bulyan
from server.aggregators.caf import Caf
from server.aggregators.centred_clipping import CentredClipping
from server.aggregators.dnc import Dnc
from server.aggregators.flame import Flame
from server.aggregators.fldetector import FlDetector
from server.aggregators.fltrust import FlTrust
from server.aggregators.foolsgold import FoolsGold
from server.aggregators.geometric_median import GeometricMedian
from server.aggregators.hics import Hics
from server.aggregators.krum import Krum
from server.aggregators.lasa import Lasa
from server.aggregators.mda import Mda
from server.aggregators.meamed import Meamed
from server.aggregators.mean import Mean
from server.aggregators.median import Median
from server.aggregators.mixed_rfa import MixedRfa
from server.aggregators.multi_krum import MultiKrum
from server.aggregators.norm_clip import NormClip
from server.aggregators.phocas import Phocas
from server.aggregators.rlr import Rlr
from server.aggregators.sieve import Sieve
from server.aggregators.signguard import Signguard
from server.aggregators.trimmed_mean import TrimmedMean
from server.aggregators.union import Union

_OWN: dict[str, type[Aggregator]] = {
    # Gram space
    "mean": Mean,
    "norm_clip": NormClip,
    "krum": Krum,
    "multi_krum": MultiKrum,
    "mda": Mda,
    "geometric_median": GeometricMedian,
    "centred_clipping": CentredClipping,
    "foolsgold": FoolsGold,
    "fltrust": FlTrust,
    "fldetector": FlDetector,
    "flame": Flame,
    "dnc": Dnc,
    "caf": Caf,
    # coordinates
    "median": Median,
    "trimmed_mean": TrimmedMean,
    "meamed": Meamed,
    "phocas": Phocas,
    "bulyan": Bulyan,
    "rlr": Rlr,
    "signguard": Signguard,
    "lasa": Lasa,
    # recommendation
    "hics": Hics,
    "union": Union,
    "mixed_rfa": MixedRfa,
    "sieve": Sieve,
}
AGGREGATORS: Registry[Aggregator] = Registry("aggregator", "aggregators", _OWN, Aggregator)


def build_aggregator(component: Component) -> Aggregator:
    """The rule a config names. Raises ConfigError for an unknown name or parameter."""
    return AGGREGATORS.build(component.name, component.params)


__all__ = ["AGGREGATORS", "Aggregate", "Aggregator", "Round", "State", "build_aggregator", "weighted_sum"]
