"""YAML, ``--set`` and Flower's flat run config."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import Component, RunConfig
from common.errors import ConfigError
from common.explain import names
from common.settings import changed, component, flattened, from_flat, load, to_flat, to_tree, validate


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load() == RunConfig()
    assert from_flat({}) == RunConfig()


def test_yaml_then_overrides_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, "seed: 3\ntrain: {rounds: 7, loss: bce}\n")
    config = load(path, ["train.rounds=9", "model.dim=16", "train.rounds=11"])
    assert (config.seed, config.train.rounds, config.train.loss, config.model.dim) == (3, 11, "bce", 16)


def test_an_empty_file_is_no_settings(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == RunConfig()
    assert load(written(tmp_path, "# nothing\n")) == RunConfig()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train: {rounds: 7", "is not YAML"),
        ("- a\n- b\n", r"expected a mapping of settings.*given: \['a', 'b'\]"),
        ("seed: 1\nseed: 2\n", "line 2, column 1: seed is given twice"),
        ("train: {rounds: 3, rounds: 4}", "line 1, column 20: rounds is given twice"),
        ("krum\n", "expected a mapping of settings.*given: 'krum'"),
        ("seed: 2001-99-99", "is not YAML: month must be in 1..12; text that looks like a date"),
        ("seed: 0b_", "is not YAML: .*; text that looks like a date or a number needs quotes"),
    ],
)
def test_bad_yaml_is_told_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=told) as caught:
        load(path)
    assert path.name in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*missing\.yaml: No such file"):
        load(tmp_path / "missing.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ConfigError, match="is not YAML"):
        load(binary)


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not YAML"):
        load(written(tmp_path, "seed: !!python/object/apply:os.getpid []\n"))


@pytest.mark.parametrize("item", ["train.rounds", "=3", ""])
def test_an_override_must_be_key_and_value(item: str) -> None:
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        load(overrides=[item])


def test_an_overrides_value_is_yaml() -> None:
    config = load(overrides=["attack.targets=[3, 4]", "data.path=a=b.csv", "attack.params={boost: 2}"])
    assert config.attack.targets == ("3", "4")
    assert config.data.path == "a=b.csv"  # only the first = separates
    assert config.attack.params == {"boost": 2}
    with pytest.raises(ConfigError, match="the value is not YAML"):
        load(overrides=["attack.targets=[3"])


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("sede", r"unknown setting sede: did you mean 'seed'\? valid: seed, device, data, model"),
        ("train.round", r"unknown setting train.round: did you mean 'train.rounds'\? valid: train.rounds, "),
        ("trian.rounds", r"unknown setting trian: did you mean 'train'\? valid: seed, device, data"),
        ("client.klip", "valid: client.regularisers, client.clip, client.noise"),
    ],
)
def test_an_unknown_key_lists_the_valid_ones(key: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(overrides=[f"{key}=1"])


def test_noise_without_a_clip_is_refused_as_it_would_do_nothing() -> None:
    with pytest.raises(ConfigError, match=r"client\.noise: .*client\.clip above 0.*\(given: 0\.5\)"):
        load(overrides=["client.noise=0.5"])
    assert load(overrides=["client.noise=0.5", "client.clip=1"]).client.noise == 0.5


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides=["train.rounds=0", "model.dim=wide", "sede=1"])
    told = str(caught.value)
    assert len(told.splitlines()) == 3
    assert "train.rounds: " in told
    assert "(given: 0)" in told
    assert "model.dim: " in told
    assert "'wide'" in told


@pytest.mark.parametrize(
    "item",
    [
        "train.negatives=none",
        "attack.share=1.2",
        "attack.targets=[1.5]",
        "attack.targets=[true]",
        "eval.group=1.5",
        "attack.target_count=0",
        "attack.period=0",
        "attack.active=2",
        "attack.knowledge=all",
        "model.dropout=1",
        "strategy.lr=.nan",
        "strategy.lr=.inf",
        "strategy.byzantine=2.5",
        "strategy.byzantine=-1",
        "strategy.byzantine=.inf",
        "wire.dtype=int8",
        "seed=-1",
        "train.rounds=2.5",
        "strategy.aggregator=3",
        "strategy.aggregator={byzantine: 3}",
    ],
)
def test_a_value_out_of_range_names_its_key(item: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides=[item])
    assert str(caught.value).startswith(item.partition("=")[0])


HUGE = [
    ("model.dim", 2049, 2048),
    ("model.max_len", 2049, 2048),
    ("model.blocks", 100_000, 64),
    ("model.heads", 33, 32),
    ("train.rounds", 10**7 + 1, 10**7),
    ("train.local_steps", 10**12, 500),
    ("train.devices_per_round", 2**20 + 1, 2**20),
    ("train.device_negatives", 2**16 + 1, 2**16),
    ("client.decoys", 2**16 + 1, 2**16),
    ("client.top_k", 2049, 2048),
]


@pytest.mark.parametrize(("key", "given", "most"), HUGE, ids=[key for key, *_ in HUGE])
def test_an_absurd_size_is_told_in_one_line_with_the_largest(key: str, given: int, most: int) -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides=[f"{key}={given}"])
    assert str(caught.value).startswith(f"{key}: expected a whole number from ")
    assert str(caught.value).endswith(f" to {most:,} (given: {given})")
    section, _, name = key.partition(".")
    small = ["model.dim=1", "model.max_len=1"] if name == "blocks" else []
    assert getattr(getattr(load(overrides=[*small, f"{key}={most}"]), section), name) == most


@pytest.mark.parametrize("given", ["0", "1048577", "atuo", "1.5", "true"])
def test_a_slice_is_a_number_or_auto(given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(overrides=[f"train.slice_size={given}"])
    assert "train.slice_size: " in str(caught.value)
    assert f"expected auto or a whole number from 1 to {2**20:,} (given: " in str(caught.value)
    assert load(overrides=["train.slice_size=auto"]).train.slice_size == "auto"
    assert load(overrides=[f"train.slice_size={2**20}"]).train.slice_size == 2**20


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["model.dim=2048", "model.blocks=64"], "dim 2048, max_len 50 and 64 blocks may have 1,880,"),
        (["model.dim=2048", "model.blocks=3"], "dim 2048, max_len 50 and 3 blocks may have 88,"),
        (["model.dim=2048", "model.max_len=2048"], ""),  # with blocks as they are
        (["model.dim=512", "model.blocks=32"], ""),
    ],
)
def test_all_parameters_together_are_bounded(overrides: list[str], told: str) -> None:
    if not told:
        assert load(overrides=overrides)
        return
    with pytest.raises(ConfigError, match=rf"^model\.blocks: .*at most 67,108,864 parameters in all; {told}"):
        load(overrides=overrides)


def test_more_regularisers_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"client\.regularisers: expected a list of at most 16 names"):
        load(overrides=[f"client.regularisers=[{', '.join(['anchor'] * 17)}]"])


def test_a_group_is_no_value_and_a_value_no_group() -> None:
    with pytest.raises(ConfigError, match="train: "):
        load(overrides=["train=3"])
    with pytest.raises(ConfigError, match=r"seed\.x: seed is no group of settings \(given: 1\)"):
        load(overrides=["seed=1", "seed.x=3"])


def test_a_component_is_text_or_a_mapping() -> None:
    krum = component("krum", byzantine=3)
    forms: list[list[str]] = [
        ["strategy.aggregator={name: krum, byzantine: 3}"],
        ["strategy.aggregator=krum", "strategy.aggregator.byzantine=3"],
        ["strategy.aggregator.byzantine=3", "strategy.aggregator.name=krum"],
        [
            "strategy.aggregator={name: mean, x: 1}",
            "strategy.aggregator=krum",
            "strategy.aggregator.byzantine=3",
        ],
    ]
    for overrides in forms:
        assert load(overrides=overrides).strategy.aggregator == krum
    assert load(overrides=["strategy.aggregator=krum"]).strategy.aggregator == component("krum")


def test_lists_of_components_mix_both_forms(tmp_path: Path) -> None:
    path = written(tmp_path, "strategy:\n  constraints:\n    - rows\n    - {name: encoder, factor: 3}\n")
    found = load(path).strategy.constraints
    assert found == (component("rows"), component("encoder", factor=3))
    assert [c.params for c in found] == [{}, {"factor": 3}]


@pytest.mark.parametrize("text", ["1e-6", "1E-6", "1.0e-6", "1.e-6"])
def test_a_small_number_is_a_number_everywhere(text: str) -> None:
    """YAML 1.1 reads 1e-6 as text; a component's parameters have no type that would repair it."""
    config = load(overrides=[f"strategy.aggregator.tolerance={text}", "strategy.aggregator.name=x"])
    assert config.strategy.aggregator.params == {"tolerance": 1e-6}
    assert load(overrides=[f"strategy.lr={text}"]).strategy.lr == 1e-6


def test_words_that_look_like_numbers_stay_words() -> None:
    config = load(overrides=["data.path=1e5.csv", "data.name=e5"])
    assert (config.data.path, config.data.name) == ("1e5.csv", "e5")


def test_settings_are_immutable() -> None:
    config = load()
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        config.strategy.aggregator.name = "krum"  # type: ignore[misc]


words = st.text("abcxyz_-", min_size=1, max_size=6)
scalars = st.one_of(st.integers(-9, 9), st.floats(-4, 4, width=32), st.booleans(), words, st.none())
params = st.dictionaries(words.map(lambda w: f"p{w}".replace("-", "_")), scalars, max_size=2)
components = st.builds(lambda name, extra: component(name, **extra), words, params)
shares = st.floats(0, 1)


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    """Any settings at all."""
    tree: dict[str, Any] = {
        "seed": draw(st.integers(0, 2**62)),
        "checkpoint_every": draw(st.integers(0, 99)),
        "data": {"name": draw(words), "path": draw(st.text(max_size=8))},
        "model": {"dim": draw(st.integers(1, 64)), "dropout": draw(st.floats(0, 0.99))},
        "train": {
            "negatives": draw(st.sampled_from(["full", "slice", "device"])),
            "loss": draw(st.sampled_from(["softmax", "bce", "gbce"])),
            "local_lr": draw(st.floats(1e-9, 10)),
        },
        "strategy": {
            "aggregator": draw(components),
            "pre": draw(st.lists(components, max_size=2)),
            "constraints": draw(st.lists(components, max_size=2)),
            "optimizer": draw(components),
        },
        "client": {"regularisers": draw(st.lists(components, max_size=2)), "clip": draw(shares)},
        "attack": {
            "name": draw(words),
            "share": draw(shares),
            "targets": draw(
                st.one_of(
                    st.sampled_from(["cold", "medium", "random"]), st.lists(st.integers(1, 99), max_size=3)
                )
            ),
            "params": draw(st.one_of(params, st.just({"name": "x"}))),
        },
        "eval": {"targets": draw(st.lists(st.integers(1, 99), max_size=3))},
    }
    return RunConfig.model_validate(tree)


@settings(max_examples=40)
@given(config=configs())
def test_settings_survive_every_form(config: RunConfig) -> None:
    assert validate(to_tree(config)) == config
    assert validate(yaml.safe_load(yaml.safe_dump(to_tree(config)))) == config
    flat = to_flat(config)
    assert all(isinstance(value, bool | int | float | str) for value in flat.values())
    assert from_flat(flat) == config


def test_the_secret_of_the_server_is_in_no_dump() -> None:
    """It goes where it is asked for by name, and nowhere else."""
    config = load(overrides=["strategy.secret=hush", "seed=3"])
    assert config.strategy.secret == "hush"
    told = [to_tree(config), to_flat(config), config, config.strategy, config.model_dump_json()]
    assert not any("hush" in str(one) or "hush" in repr(one) for one in told)
    assert from_flat(to_flat(config, secret=True)) == config


def test_a_file_written_from_a_config_reads_back(tmp_path: Path) -> None:
    config = load(overrides=["strategy.aggregator={name: krum, byzantine: 3}", "strategy.lr=1e-7"])
    path = written(tmp_path, yaml.safe_dump(to_tree(config)))
    assert load(path) == config


def test_what_is_nested_has_dotted_names() -> None:
    tree = {"a.b": {"c": {"d": 1}, "e": {}}, "f": [{"g": 2}]}
    expected = [("a.b", tree["a.b"]), ("a.b.c", {"d": 1}), ("a.b.c.d", 1), ("a.b.e", {}), ("f", [{"g": 2}])]
    assert list(flattened(tree)) == expected


def test_flat_keys_are_the_names_of_set() -> None:
    flat = to_flat(RunConfig())
    assert {"seed", "train.rounds", "strategy.aggregator", "attack.params", "eval.targets"} <= set(flat)
    assert flat["strategy.aggregator"] == "sieve"
    assert flat["eval.targets"] == "[]"
    assert isinstance(flat["train.rounds"], int)


def test_a_flat_component_takes_parameters_as_json_or_as_keys() -> None:
    krum = component("krum", byzantine=3)
    assert from_flat({"strategy.aggregator": '{"name": "krum", "byzantine": 3}'}).strategy.aggregator == krum
    flat: dict[str, bool | int | float | str] = {
        "strategy.aggregator": "krum",
        "strategy.aggregator.byzantine": 3,
    }
    assert from_flat(flat).strategy.aggregator == krum


def test_flat_text_that_is_broken_json_or_unknown_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"attack\.params: begins like JSON and is none \(given: \'{boost: 2}\'\)"
    ):
        from_flat({"attack.params": "{boost: 2}"})
    with pytest.raises(ConfigError, match="unknown setting train.round"):
        from_flat({"train.round": 3})


def test_a_components_parameters_are_a_copy() -> None:
    krum = Component.model_validate({"name": "krum", "byzantine": 3})
    krum.params["byzantine"] = 9
    assert krum.params == {"byzantine": 3}


@pytest.mark.parametrize(
    "item",
    [
        "strategy.aggregator=[krum]",
        "strategy.aggregator=[{name: krum}]",
        "strategy.aggregator={name: krum}",
    ],
)
def test_a_component_in_a_list_of_one_is_that_component(item: str) -> None:
    assert load(overrides=[item]).strategy.aggregator == component("krum")


@pytest.mark.parametrize(("key", "name"), [("pre", "nnm"), ("constraints", "row_trust")])
def test_a_component_alone_is_a_list_of_one(key: str, name: str) -> None:
    for text in (name, f"{{name: {name}}}", f"[{name}]"):
        assert getattr(load(overrides=[f"strategy.{key}={text}"]).strategy, key) == (component(name),)
    for text in ("none", "null", "[]"):
        assert getattr(load(overrides=[f"strategy.{key}={text}"]).strategy, key) == ()


def test_words_numbers_and_names_stand_alone_or_in_a_list() -> None:
    for text in ("auto", "[auto]"):
        assert load(overrides=[f"strategy.constraints={text}"]).strategy.constraints == "auto"
    assert load(overrides=["client.regularisers=anchor"]).client.regularisers == (component("anchor"),)
    assert load(overrides=["eval.targets=3"]).eval.targets == ("3",)
    assert load(overrides=["attack.targets=3"]).attack.targets == ("3",)
    assert load(overrides=["attack.targets=[cold]"]).attack.targets == "cold"
    for item in ("attack=sign_flip", "attack=[sign_flip]", "attack.name=[sign_flip]"):
        assert load(overrides=[item]).attack.name == "sign_flip"
    assert load(overrides=["model=[gru4rec]"]).model.name == "gru4rec"


def test_a_group_with_nothing_below_it_holds_the_defaults(tmp_path: Path) -> None:
    assert load(written(tmp_path, "train:\nseed: 0\n")) == RunConfig()
    assert load(written(tmp_path, "train:\n"), ["train.rounds=3"]).train.rounds == 3


def test_no_word_of_a_library_and_one_line_for_whatever_value_a_setting_gets() -> None:
    """Every setting with values of every kind: what is refused names the setting and what is valid there."""
    values: list[object] = [-1, 0, 1.5, "words", True, None, [], [1, "a"], {"x": 1}, float("nan"), 10**30]
    refused = 0
    for key in names(RunConfig):
        for value in values:
            try:
                changed({}, {key: value})
            except ConfigError as error:
                told = str(error)
                refused += 1
                assert "\n" not in told, told
                assert told.startswith((f"{key}: ", f"{key}.", "unknown setting")), told
                assert not re.search(r"Input|should be|valid |Value error|type=|pydantic", told), told
    assert refused > 200


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("attack.share=yes", "attack.share: expected a number .given: true"),
        ("train.rounds=on", "train.rounds: expected a whole number .given: true"),
        ("seed=off", "seed: expected a whole number .given: false"),
    ],
)
def test_a_truth_is_no_number(item: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(overrides=[item])
