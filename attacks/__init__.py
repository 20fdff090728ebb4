"""Attacks: what malicious devices do, always in the client's process."""

from __future__ import annotations

from collections.abc import Mapping

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
from common.config.attack import AttackConfig
from common.registry import Registry

_OWN: Mapping[str, type[Attack]] = {
    "a_hum": AHum,
    "a_ra": ARa,
    "adaptive": Adaptive,
    "alie": ALIE,
    "bandwagon": Bandwagon,
    "cluster_attack": ClusterAttack,
    "control": Control,
    "covisitation": Covisitation,
    "dv_fsr": DvFsr,
    "explicit_boost": ExplicitBoost,
    "false_witness": FalseWitness,
    "fang_krum": FangKrum,
    "fang_trmean": FangTrmean,
    "fed_attack": FedAttack,
    "fed_rec_attack": FedRecAttack,
    "gaussian": Gaussian,
    "huge_claim": HugeClaim,
    "inf": Inf,
    "ipm": IPM,
    "label_to_target": LabelToTarget,
    "lying_evaluation": LyingEvaluation,
    "mimic": Mimic,
    "min_max": MinMax,
    "min_sum": MinSum,
    "nan": NaN,
    "oversize": Oversize,
    "parity": Parity,
    "pieck_ipe": PieckIpe,
    "pieck_uea": PieckUea,
    "pip_attack": PipAttack,
    "poison_frs": PoisonFrs,
    "popular_shilling": PopularShilling,
    "psmu": Psmu,
    "random_labels": RandomLabels,
    "random_shilling": RandomShilling,
    "replay": Replay,
    "same_value": SameValue,
    "scaling": Scaling,
    "segment": Segment,
    "sign_flip": SignFlip,
    "slow_reply": SlowReply,
    "spattack": Spattack,
    "stale_round": StaleRound,
    "subgroup": Subgroup,
    "wrong_dtype": WrongDtype,
    "wrong_keys": WrongKeys,
    "wrong_shape": WrongShape,
    "zero": Zero,
}
ATTACKS: Registry[Attack] = Registry(
    "attack", "attacks", _OWN, Attack, beside=[key for key in AttackConfig.model_fields if key != "params"]
)


def build_attack(name: str, params: Mapping[str, object]) -> Attack:
    """The attack ``name``. Raises UnknownName or ConfigError with the valid names."""
    return ATTACKS.build(name, params)


__all__ = ["ATTACKS", "Attack", "View", "build_attack"]
