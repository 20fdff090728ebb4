"""Settings by short and dotted names, parts as names, mappings and objects; what is refused."""

from __future__ import annotations

from typing import Any

import pytest

import fedsieve
from common.config import RunConfig
from fedsieve.settings import SHORT, configured, joined, names

DEFAULT = RunConfig()


def made(**settings: Any) -> RunConfig:
    return configured(DEFAULT, settings)


def test_a_short_name_is_its_dotted_one() -> None:
    values: dict[str, Any] = {
        "rounds": 7,
        "devices": 9,
        "aggregator": "krum",
        "constraints": ["row_norm_cap"],
        "optimizer": "sgd",
        "attack": "scaling",
        "share": 0.1,
        "model": "gru4rec",
        "seed": 3,
    }
    assert set(values) == set(SHORT)
    assert made(**values) == made(**{SHORT[name]: value for name, value in values.items()})
    assert set(SHORT.values()) <= set(names())


def test_parts_are_names_mappings_or_objects() -> None:
    rules, attacks, steps = fedsieve.aggregators, fedsieve.attacks, fedsieve.optimizers
    assert made(aggregator=rules.Krum(neighbours="byzfl")) == made(
        aggregator={"name": "krum", "neighbours": "byzfl"}
    )
    assert made(aggregator=rules.Sieve()) == made(aggregator="sieve")
    assert made(optimizer=steps.Adam()) == made(optimizer="adam") == DEFAULT
    assert made(attack=attacks.Scaling(scale=5)) == made(attack={"name": "scaling", "scale": 5})
    assert made(attack={"name": "scaling", "scale": 5}).attack.params == {"scale": 5}
    cap = fedsieve.constraints.RowNormCap
    mixed = made(constraints=["exposure_cap", cap()])
    assert [c.name for c in mixed.strategy.constraints] == ["exposure_cap", "row_norm_cap"]
    term = made(**{"client.regularisers": [fedsieve.regularisers.Uniformity()]})
    assert [c.name for c in term.client.regularisers] == ["uniformity"]


def test_what_a_model_of_one_s_own_takes_goes_to_its_parameters() -> None:
    found = made(model={"name": "my_models:Wide", "dim": 16, "width": 3})
    assert (found.model.name, found.model.dim, found.model.params) == ("my_models:Wide", 16, {"width": 3})


def test_parameters_of_a_part_by_dotted_name() -> None:
    found = made(aggregator="krum", **{"strategy.aggregator.select": 4})
    assert found.strategy.aggregator.params == {"select": 4}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"round": 3}, "unknown setting 'round'; nearest: rounds"),
        ({"lr": 3}, r"unknown setting 'lr'; nearest: strategy\.lr"),
        ({"train.local_step": 3}, r"unknown setting 'train\.local_step'; nearest: train\.local_steps"),
        ({"xyz": 3}, r"unknown setting 'xyz'; valid: rounds, devices, aggregator"),
        ({"train": 3}, r"train is a group of settings; give them one by one: train\.rounds, "),
        ({"rounds": 3, "train.rounds": 3}, r"rounds and train\.rounds are the same setting"),
        ({"rounds": 0}, r"train\.rounds: expected a whole number from 1 to .* \(given: 0\)"),
        (
            {"aggregator": fedsieve.aggregators.Sieve},
            r"Sieve is a class; expected an object, as in Sieve\(\)",
        ),
        ({"attack": {"scale": 5}}, r"attack\.name: expected a name, or {'name'"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(fedsieve.ConfigError, match=told) as refused:
        made(**settings)
    assert "\n" not in str(refused.value)


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(fedsieve.ConfigError, match="seed is given twice"):
        joined({"seed": 1}, {"seed": 1})
    with pytest.raises(fedsieve.ConfigError, match=r"unknown setting 'rounds_'; nearest: rounds"):
        fedsieve.run("synthetic", rounds_=3)


def test_a_log_that_is_not_there() -> None:
    with pytest.raises(fedsieve.UnknownName, match="unknown log 'ml-100'"):
        fedsieve.run("ml-100")
    with pytest.raises(fedsieve.DataError, match=r"nowhere\.csv"):
        fedsieve.run("nowhere.csv")
    with pytest.raises(fedsieve.UnknownName, match="valid: amazon-beauty"):
        fedsieve.load_log("ml100k")
