"""Aggregation rules and pre-aggregators, and what a rule of one's own is derived from.

Written by `python -m experiments.catalogue`.
"""

from server.aggregators.base import Aggregate, Aggregator, GramRule, Round
from server.aggregators.bulyan import Bulyan
from server.aggregators.caf import Caf
from server.aggregators.centred_clipping import CentredClipping
from server.aggregators.coordinates import CoordinateRule
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
from server.aggregators.pre.arc import Arc
from server.aggregators.pre.base import Mixer
from server.aggregators.pre.bucketing import Bucketing
from server.aggregators.pre.clip import Clip
from server.aggregators.pre.heat import Heat
from server.aggregators.pre.nnm import Nnm
from server.aggregators.rlr import Rlr
from server.aggregators.sieve import Sieve
from server.aggregators.signguard import Signguard
from server.aggregators.trimmed_mean import TrimmedMean
from server.aggregators.union import Union

__all__ = [
    "Aggregate",
    "Aggregator",
    "Arc",
    "Bucketing",
    "Bulyan",
    "Caf",
    "CentredClipping",
    "Clip",
    "CoordinateRule",
    "Dnc",
    "FlDetector",
    "FlTrust",
    "Flame",
    "FoolsGold",
    "GeometricMedian",
    "GramRule",
    "Heat",
    "Hics",
    "Krum",
    "Lasa",
    "Mda",
    "Meamed",
    "Mean",
    "Median",
    "MixedRfa",
    "Mixer",
    "MultiKrum",
    "Nnm",
    "NormClip",
    "Phocas",
    "Rlr",
    "Round",
    "Sieve",
    "Signguard",
    "TrimmedMean",
    "Union",
]
