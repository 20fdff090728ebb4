"""Attacks, and what one of one's own is derived from.

Written by `python -m experiments.catalogue`.
"""

from attacks.a_hum import AHum
from attacks.a_ra import ARa
from attacks.adaptive import Adaptive
from attacks.alie import ALIE
from attacks.bandwagon import Bandwagon
from attacks.base import Attack, View
from attacks.cluster_attack import ClusterAttack
from attacks.control import Control
from attacks.covisitation import Covisitation
from attacks.dv_fsr import DvFsr
from attacks.explicit_boost import ExplicitBoost
from attacks.false_witness import FalseWitness
from attacks.fang_krum import FangKrum
from attacks.fang_trmean import FangTrmean
from attacks.fed_attack import FedAttack
from attacks.fed_rec_attack import FedRecAttack
from attacks.gaussian import Gaussian
from attacks.huge_claim import HugeClaim
from attacks.inf import Inf
from attacks.ipm import IPM
from attacks.label_to_target import LabelToTarget
from attacks.lying_evaluation import LyingEvaluation
from attacks.mimic import Mimic
from attacks.min_max import MinMax
from attacks.min_sum import MinSum
from attacks.nan import NaN
from attacks.oversize import Oversize
from attacks.parity import Parity
from attacks.pieck_ipe import PieckIpe
from attacks.pieck_uea import PieckUea
from attacks.pip_attack import PipAttack
from attacks.poison_frs import PoisonFrs
from attacks.popular_shilling import PopularShilling
from attacks.psmu import Psmu
from attacks.random_labels import RandomLabels
from attacks.random_shilling import RandomShilling
from attacks.replay import Replay
from attacks.same_value import SameValue
from attacks.scaling import Scaling
from attacks.segment import Segment
from attacks.sign_flip import SignFlip
from attacks.slow_reply import SlowReply
from attacks.spattack import Spattack
from attacks.stale_round import StaleRound
from attacks.subgroup import Subgroup
from attacks.wrong_dtype import WrongDtype
from attacks.wrong_keys import WrongKeys
from attacks.wrong_shape import WrongShape
from attacks.zero import Zero

__all__ = [
    "ALIE",
    "IPM",
    "AHum",
    "ARa",
    "Adaptive",
    "Attack",
    "Bandwagon",
    "ClusterAttack",
    "Control",
    "Covisitation",
    "DvFsr",
    "ExplicitBoost",
    "FalseWitness",
    "FangKrum",
    "FangTrmean",
    "FedAttack",
    "FedRecAttack",
    "Gaussian",
    "HugeClaim",
    "Inf",
    "LabelToTarget",
    "LyingEvaluation",
    "Mimic",
    "MinMax",
    "MinSum",
    "NaN",
    "Oversize",
    "Parity",
    "PieckIpe",
    "PieckUea",
    "PipAttack",
    "PoisonFrs",
    "PopularShilling",
    "Psmu",
    "RandomLabels",
    "RandomShilling",
    "Replay",
    "SameValue",
    "Scaling",
    "Segment",
    "SignFlip",
    "SlowReply",
    "Spattack",
    "StaleRound",
    "Subgroup",
    "View",
    "WrongDtype",
    "WrongKeys",
    "WrongShape",
    "Zero",
]
