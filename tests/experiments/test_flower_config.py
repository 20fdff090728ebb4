"""What Flower reads back is what we wrote, and pyproject.toml lists every setting with its default."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from flwr.common.config import flatten_dict, get_fused_config_from_dir, parse_config_args
from hypothesis import given
from hypothesis import strategies as st

from common.config import RunConfig
from common.errors import ConfigError
from common.settings import Scalar, from_flat, load, to_flat
from experiments.flower_config import (
    BEGIN,
    END,
    OWN,
    PROJECT,
    argument,
    block,
    defaults,
    main,
    renewed,
    toml,
    toml_value,
)
from server.app import OWN_KEYS

RICH = load(
    overrides=[
        "strategy.aggregator={name: krum, byzantine: 3}",
        "strategy.constraints=[{name: row_norm_cap, factor: 2.5}]",
        "attack.targets=[5, 7]",
        'attack.params={note: "it\'s 1e-3"}',
        "train.rounds=10",
        "data.path=a folder/log.csv",
    ]
)


def test_pyproject_holds_every_setting_with_its_default() -> None:
    """Fails after a change of common/config: run ``python -m experiments.flower_config``."""
    app = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["flwr"]["app"]
    written = flatten_dict(app["config"])
    assert written == {**to_flat(RunConfig(), secret=True), "out": "", "resume": False}
    assert {type(written[key]) for key in ("seed", "strategy.lr", "resume")} == {int, float, bool}
    assert set(OWN) == set(OWN_KEYS)
    assert from_flat({k: v for k, v in written.items() if k not in OWN}) == RunConfig()
    assert main(["--check"]) == 0


def test_the_block_is_renewed_and_nothing_else_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(f"# before\n{BEGIN}\nseed = 12\n{END}\n# after\n")
    assert main(["--check"], project) == 1
    assert "run python -m" in capsys.readouterr().out
    assert "seed = 12" in project.read_text()
    assert main([], project) == 0
    assert project.read_text() == f"# before\n{BEGIN}\n{block()}{END}\n# after\n"
    assert main(["--check"], project) == 0
    assert main(["--what"], project) == 2
    assert flatten_dict(tomllib.loads(block())["tool"]["flwr"]["app"]["config"]) == defaults()


@pytest.mark.parametrize("text", ["", f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n"])
def test_a_lost_mark_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a block between"):
        renewed(text)


def test_flower_takes_every_setting_from_a_file(tmp_path: Path) -> None:
    """Lists and rules with parameters travel as JSON text, both kinds of quotes included."""
    file = tmp_path / "run.toml"
    file.write_text(toml({**to_flat(RICH), "out": "here"}), encoding="utf-8")
    fused = get_fused_config_from_dir(PROJECT.parent, parse_config_args([str(file)]))
    assert (fused.pop("out"), fused.pop("resume")) == ("here", False)
    assert from_flat(fused) == RICH


def test_flower_takes_dotted_overrides_from_the_command_line() -> None:
    given = parse_config_args(
        ['train.rounds=10 strategy.aggregator=\'{"name": "krum", "byzantine": 3}\' attack.targets=\'[5, 7]\'']
    )
    fused = get_fused_config_from_dir(PROJECT.parent, given)
    config = from_flat({k: v for k, v in fused.items() if k not in OWN})
    assert config.train.rounds == 10
    assert config.strategy.aggregator == RICH.strategy.aggregator
    assert config.attack.targets == ("5", "7")
    with pytest.raises(ValueError, match=r"train\.round'"):  # a typing error never passes for a setting
        get_fused_config_from_dir(PROJECT.parent, parse_config_args(["train.round=10"]))


def test_arguments_are_written_as_flower_reads_them() -> None:
    config: dict[str, Scalar] = {
        "a": 1,
        "b": "x y",
        "c": True,
        "train.rate": 0.5,
        "params": '{"factor": 2}',
        "empty": "",
        "path": "/logs/Zoë's/node-000.parquet",
    }
    assert parse_config_args([argument(config)]) == config


@pytest.mark.parametrize("text", ['{"it\'s": 1}', "back\\slash", "two\nlines"])
def test_text_that_no_command_line_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="params"):
        argument({"params": text})


scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)


@given(scalars)
def test_any_scalar_survives_toml(value: Scalar) -> None:
    found = tomllib.loads(f"key = {toml_value(value)}")["key"]
    assert found == value
    assert type(found) is type(value)
