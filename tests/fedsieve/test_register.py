"""Rules and the like of one's own, by class, by name and by ``module:Class``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = '''
from dataclasses import dataclass
from typing import ClassVar
import fedsieve
from fedsieve.aggregators import GramRule, Mean
from fedsieve.attacks import Attack
from fedsieve.constraints import RowNormCap
from server.aggregators.pre.clip import Clip

@dataclass(frozen=True)
class Half(Mean):
    """The mean, with a parameter."""
    name: ClassVar[str] = "half"
    factor: float = 0.5

@dataclass(frozen=True)
class Quiet(Attack):
    """Does nothing."""
    name: ClassVar[str] = "quiet"

@dataclass(frozen=True)
class Cap(RowNormCap):
    """A constraint by another name."""

class Shorter(Clip):
    """A pre-aggregator by another name."""

class Nothing:
    """No component."""
'''
MAIN = """
import fedsieve, rules
from tests.fedsieve.samples import small

assert fedsieve.register(rules.Half, "half") is rules.Half
assert fedsieve.register("constraints", "cap")(rules.Cap) is rules.Cap
fedsieve.register(rules.Quiet, "quiet")
assert fedsieve.register(rules.Shorter, "shorter") is rules.Shorter
assert fedsieve.register("pre", "shorter")(rules.Shorter) is rules.Shorter
named = small(aggregator="half", constraints=["cap"], attack="quiet")
objects = small(aggregator=rules.Half(), constraints=[rules.Cap()], attack=rules.Quiet())
assert named.metrics == objects.metrics
assert objects.config.strategy.aggregator.name == "half"
full = small(aggregator={"name": "rules:Half", "factor": 0.25}, constraints=["rules:Cap"], attack="quiet")
assert full.metrics == named.metrics
assert full.config.strategy.aggregator.params == {"factor": 0.25}
for arguments, told in [
    ((rules.Nothing, "nothing"), "say which kind it is"),
    (("rules", "x"), "unknown kind 'rules'"),
    ((rules.Half, "krum"), "is there already"),
    ((rules.Half, "not a name"), "expected a name"),
]:
    try:
        fedsieve.register(*arguments)
    except fedsieve.ConfigError as error:
        assert told in str(error), error
    else:
        raise AssertionError(told)
print("all")
"""


def test_parts_of_one_s_own_run_as_if_they_were_ours(tmp_path: Path) -> None:
    """In a process of its own: what is registered stays."""
    (tmp_path / "rules.py").write_text(RULES)
    told = subprocess.run(
        [sys.executable, "-c", MAIN],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.stdout.endswith("all\n"), told.stdout + told.stderr
