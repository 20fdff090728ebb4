"""Components by name, by module and class, by entry point, and as instances."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from attacks import ATTACKS
from attacks.alie import ALIE
from client.regularisers import REGULARISERS
from common.config import AttackConfig, Component, ModelConfig, RunConfig, StrategyConfig
from common.errors import ConfigError, FedSieveError, UnknownName
from common.models import SASRec, build_model
from common.registry import Registry, as_component, parameters, registries
from common.settings import from_flat, load, to_flat, to_tree, validate
from server.aggregators import AGGREGATORS
from server.aggregators.krum import Krum as RealKrum
from server.aggregators.pre import KNOWN
from server.aggregators.sieve import Sieve
from server.constraints import CONSTRAINTS
from server.optimizers import OPTIMIZERS
from server.optimizers.adam import Adam


class Rule:
    pass


@dataclass(frozen=True)
class Krum(Rule):
    byzantine: int = 1
    squared: bool = True
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.byzantine < 0:
            raise ValueError("byzantine must be at least 0")


class Plain(Rule):
    def __init__(self) -> None:
        pass


@dataclass(frozen=True)
class Either(Rule):
    bound: float | None = None


@dataclass(frozen=True)
class Overflowing(Rule):
    size: int = 1

    def __post_init__(self) -> None:
        float(self.size)


class Hidden(Rule):
    def __init__(self, size: int, shape: tuple[int, ...] = (1,)) -> None:
        self._size = size * len(shape)


class Shown(Hidden):
    def __init__(self, size: int, shape: tuple[int, ...] = (1,)) -> None:
        super().__init__(size, shape)
        self.config = {"size": size, "shape": shape}


@pytest.fixture
def rules() -> Iterator[Registry[Rule]]:
    yield Registry("rule", "rules", {"krum": Krum, "plain": Plain}, Rule)
    del registries()["rules"]  # type: ignore[attr-defined]


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; modules imported from it are forgotten."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_name_with_parameters_is_built(rules: Registry[Rule]) -> None:
    assert rules.build("krum", {}) == Krum()
    assert rules.build("krum", {"byzantine": 3}) == Krum(byzantine=3)
    assert isinstance(rules.build("plain", {}), Plain)


def test_an_unknown_name_is_told_with_the_nearest_and_the_valid_ones(rules: Registry[Rule]) -> None:
    with pytest.raises(
        UnknownName, match=r"^unknown rule 'crum': did you mean 'krum'\? valid: krum, plain$"
    ) as caught:
        rules.find("crum")
    assert (caught.value.kind, caught.value.name, caught.value.valid) == ("rule", "crum", ["krum", "plain"])
    assert isinstance(caught.value, ConfigError)
    assert isinstance(caught.value, FedSieveError)


def test_an_unknown_parameter_is_told_with_the_nearest_and_the_valid_ones(rules: Registry[Rule]) -> None:
    told = r"'krum' has no parameter 'squares': did you mean 'squared'\? valid: byzantine, squared, names$"
    with pytest.raises(ConfigError, match=told):
        rules.build("krum", {"byzantine": 1, "squares": 2})
    with pytest.raises(ConfigError, match="has no parameter 'x'; valid: none$"):
        rules.build("plain", {"x": 1})
    with pytest.raises(ConfigError, match="has no parameter 'self'"):
        rules.build("krum", {"self": 1})


def test_an_unusable_value_is_told_with_the_rules_own_words(rules: Registry[Rule]) -> None:
    with pytest.raises(ConfigError, match="rule 'krum': byzantine must be at least 0"):
        rules.build("krum", {"byzantine": -1})


@pytest.mark.parametrize("value", ["two", 2.5, True, [1], None])
def test_a_value_of_another_type_is_told_before_a_library_meets_it(
    rules: Registry[Rule], value: object
) -> None:
    with pytest.raises(ConfigError, match=r"^rule 'krum': byzantine must be a whole number, given "):
        rules.build("krum", {"byzantine": value})


@pytest.mark.parametrize("digits", [401, 5001])  # Python writes out no more than 4300
def test_a_whole_number_that_no_float_holds_is_told_in_a_few_words(
    rules: Registry[Rule], digits: int
) -> None:
    rules.register("either", Either)
    told = rf"^rule 'either': bound must be a finite number, given a whole number of {digits} digits$"
    with pytest.raises(ConfigError, match=told):
        rules.build("either", {"bound": -(10 ** (digits - 1))})


def test_a_class_that_overflows_is_a_wrong_value_too(rules: Registry[Rule]) -> None:
    rules.register("overflowing", Overflowing)
    with pytest.raises(ConfigError, match=r"^rule 'overflowing': "):
        rules.build("overflowing", {"size": 10**400})


@pytest.mark.parametrize("value", [3, None])
def test_a_type_may_be_one_of_two(rules: Registry[Rule], value: object) -> None:
    rules.register("either", Either)
    assert rules.build("either", {"bound": value}) == Either(bound=value)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^rule 'either': bound must be a number, given 'x'$"):
        rules.build("either", {"bound": "x"})


def test_a_registered_class_goes_by_its_name(rules: Registry[Rule]) -> None:
    rules.register("hidden", Hidden)
    assert list(rules) == ["krum", "plain", "hidden"]
    rules.register("hidden", Hidden)  # again is no mistake
    with pytest.raises(ConfigError, match="rule 'krum' is there already"):
        rules.register("krum", Hidden)
    with pytest.raises(ConfigError, match="rule 'a:b': expected a name of letters"):
        rules.register("a:b", Hidden)
    with pytest.raises(ConfigError, match="rule 'int': expected a class that derives from .*Rule, found int"):
        rules.register("int", int)  # type: ignore[arg-type]


def test_a_class_in_a_module_on_the_path_is_found(rules: Registry[Rule], outside: Path) -> None:
    (outside / "mine.py").write_text(
        f"from dataclasses import dataclass\nfrom {__name__} import Rule\n@dataclass\nclass Mine(Rule):\n"
        "    size: int = 1\nclass Other: pass\n"
    )
    (outside / "broken.py").write_text("1 / 0\n")
    made = rules.build("mine:Mine", {"size": 2})
    assert type(made).__name__ == "Mine"
    assert as_component(made) == {"name": "mine:Mine", "size": 2}
    with pytest.raises(UnknownName, match=r"rule of mine 'Mina': did you mean 'Mine'\? valid: Mine, Other$"):
        rules.find("mine:Mina")
    with pytest.raises(ConfigError, match="expected a class that derives from .*Rule, found Other"):
        rules.find("mine:Other")
    with pytest.raises(ConfigError, match="rule 'nowhere:X': No module named 'nowhere'; .* PYTHONPATH"):
        rules.find("nowhere:X")
    with pytest.raises(ConfigError, match="rule 'broken:X': ZeroDivisionError"):
        rules.find("broken:X")


def test_an_installed_package_offers_components_by_entry_points(rules: Registry[Rule], outside: Path) -> None:
    (outside / "offered.py").write_text(f"from {__name__} import Rule\nclass Mine(Rule): pass\n")
    folder = outside / "offered-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[fedsieve.rules]\nmine = offered:Mine\n")
    assert rules.find("mine").__module__ == "offered"
    with pytest.raises(UnknownName, match=r"did you mean 'mine'\? valid: krum, mine, plain$"):
        rules.find("mina")


@pytest.mark.parametrize("registry", [AGGREGATORS, ATTACKS, CONSTRAINTS, OPTIMIZERS], ids=lambda r: r.kind)
def test_nothing_but_a_component_is_ever_called(registry: Registry[object]) -> None:
    """Settings come from files of strangers too: a name in them must not start a program."""
    for name in ("subprocess:Popen", "os:system", "builtins:eval"):
        with pytest.raises(ConfigError, match="expected a class that"):
            registry.build(name, {})


def test_every_kind_has_its_group_of_entry_points() -> None:
    assert REGULARISERS.kind == "regulariser"
    assert "heat" in KNOWN
    groups = {"aggregators", "attacks", "constraints", "models", "optimizers", "pre", "regularisers"}
    assert {r.group for r in registries().values()} >= {f"fedsieve.{group}" for group in groups}


def test_an_instance_gives_what_it_was_built_with_less_the_defaults() -> None:
    assert parameters(Krum(names=[])) == {}
    assert parameters(Krum(byzantine=2, names=["a"])) == {"byzantine": 2, "names": ["a"]}
    assert as_component(RealKrum(select=2)) == {"name": "krum", "select": 2}
    assert parameters(SASRec(16, heads=2)) == {"dim": 16, "heads": 2}
    with pytest.raises(ConfigError, match=r"Krum.names: a list cannot be written to a config"):
        parameters(Krum(names=[object()]))  # type: ignore[list-item]


def test_what_is_no_dataclass_keeps_its_parameters_as_config_or_is_refused(rules: Registry[Rule]) -> None:
    rules.register("shown", Shown)
    assert as_component(Shown(3)) == {"name": "shown", "size": 3}
    assert as_component(Shown(3, shape=(2, 2))) == {"name": "shown", "size": 3, "shape": [2, 2]}
    assert as_component(Plain()) == {"name": "plain"}
    with pytest.raises(
        ConfigError, match=r"^Hidden: expected a dataclass, or its parameters as self\.config"
    ):
        parameters(Hidden(3))


def test_a_class_that_nobody_else_could_find_is_refused() -> None:
    class Local(Rule):
        pass

    with pytest.raises(ConfigError, match="Local: define it in a module, or register it"):
        as_component(Local())


def test_instances_in_a_config_become_names() -> None:
    strategy = StrategyConfig(
        aggregator=Sieve(),  # type: ignore[arg-type]
        optimizer=Adam(beta1=0.5),  # type: ignore[arg-type]
        constraints=[CONSTRAINTS["row_drift"]()],  # type: ignore[arg-type]
    )
    config = RunConfig(strategy=strategy, model=SASRec(dim=16), attack=ALIE(share=0.3))  # type: ignore[arg-type]
    assert config.strategy.aggregator == Component(name="sieve")
    assert config.strategy.optimizer.params == {"beta1": 0.5}
    assert (config.model.dim, config.model.params) == (16, {})
    assert (config.attack.name, config.attack.share, config.attack.params) == ("alie", 0.2, {"share": 0.3})
    assert validate(to_tree(config)) == config
    assert from_flat(to_flat(config)) == config


def test_one_grammar_for_attack_model_and_loss() -> None:
    attack = validate({"attack": {"name": "sign_flip", "scale": 3, "share": 0.1}}).attack
    assert (attack.name, attack.share, attack.params) == ("sign_flip", 0.1, {"scale": 3})
    assert validate({"attack": "nan", "model": "gru4rec"}).attack == AttackConfig(name="nan")
    model = validate({"model": {"name": "my.models:Mine", "dim": 8, "width": 3}}).model
    assert (model.dim, model.params) == (8, {"width": 3})
    assert validate({"train": {"loss": {"name": "gbce"}}}).train.loss == "gbce"
    with pytest.raises(ConfigError, match=r"train\.loss"):
        validate({"train": {"loss": {"name": "gbce", "calibration": 1}}})
    for wrong in ({"attack": {"name": "nan", "shar": 1}}, {"model": {"width": 3}}, {"attack": {"scale": 3}}):
        with pytest.raises(ConfigError, match=r"unknown setting (attack|model)\.(shar|width|scale)[:;] "):
            validate(wrong)


def test_set_takes_a_component_where_there_is_a_section(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("attack: {name: sign_flip, scale: 3, share: 0.1}\nmodel: {dim: 8}\n")
    found = load(file, ["attack=gaussian", "model=gru4rec", "attack.sigma=2"])
    assert (found.attack.name, found.attack.share, found.attack.params) == ("gaussian", 0.1, {"sigma": 2})
    assert (found.model.name, found.model.dim) == ("gru4rec", 8)
    assert load(file, ["attack.name=nan", "attack.params={}"]).attack.params == {}


def test_a_model_refuses_parameters_that_it_has_not() -> None:
    with pytest.raises(ConfigError, match="model 'sasrec' has no parameter 'width'; valid: dim, max_len, "):
        build_model(ModelConfig(params={"width": 3}))
