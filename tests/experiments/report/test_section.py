"""Names, sections, what is share_retained, the order on the page, and comparisons."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from experiments.report.accuracy import exposure
from experiments.report.baselines import best_baseline, by_condition, overall
from experiments.report.beside import beside_table, beyond_parity
from experiments.report.contents import main_table
from experiments.report.differences import beyond, beyond_plain, er_over_plain, of_oracle
from experiments.report.names import Condition, slug
from experiments.report.plots import Heatmap
from experiments.report.reading import Cell, read_grid
from experiments.report.section import NDCG, Section, sections, share_retained
from experiments.report.statistics import Estimate
from experiments.report.tables import number
from tests.experiments.report.samples import Row, Shape, row, rows, write


def only(folder: Path, found: Iterable[Row]) -> Section:
    (section,), hidden = sections(read_grid(write(folder, found, curves=False)))
    assert hidden == []
    return section


def cell(rule: str, attack: str, seed: int, ndcg: float | None, **more: object) -> Row:
    share = more.pop("malicious_share", 0.2)
    return row("synthetic", "sasrec", rule, attack, 0.2, seed, **more) | {
        "malicious_share": share,
        "test.ndcg@10": ndcg,
    }


def test_retained_is_the_share_of_the_clean_mean_of_the_same_seed(tmp_path: Path) -> None:
    found = [
        cell("mean", "control", 0, 0.10),
        cell("mean", "control", 1, 0.20),
        cell("krum", "nan", 0, 0.05),
        cell("krum", "nan", 1, 0.05),
        cell("krum", "nan", 2, 0.05),
        cell("krum", "control", 0, 0.08),
    ]
    section = only(tmp_path, found)
    assert section.by_seed("krum", Condition("nan", 0.2), share_retained) == pytest.approx({0: 0.5, 1: 0.25})
    assert section.by_seed("krum", Condition("control", 0.2), share_retained) == pytest.approx({0: 0.8})
    assert section.quality == share_retained


def test_the_clean_run_of_the_same_share_and_of_control_wins(tmp_path: Path) -> None:
    found = [
        cell("mean", "none", 0, 0.5, malicious_share=None),
        cell("mean", "control", 0, 0.1, malicious_share=0.05),
        cell("mean", "control", 0, 0.2, malicious_share=0.2),
        cell("mean", "nan", 0, 0.1, malicious_share=0.05),
        cell("mean", "nan", 0, 0.1, malicious_share=0.2),
        cell("mean", "nan", 0, 0.1, malicious_share=0.4),
    ]
    section = only(tmp_path, found)
    got = {c.share: section.by_seed("mean", c, share_retained)[0] for c in section.attacks}
    assert got == pytest.approx({0.05: 1.0, 0.2: 0.5, 0.4: 1.0})
    assert [c.attack for c in section.cleans] == ["control", "control"]
    assert section.shares == (0.4, 0.2, 0.05)
    assert section.called(Condition("nan", 0.05)) == "nan, 5 %"


def test_a_mean_behind_a_pre_aggregator_is_no_clean_run(tmp_path: Path) -> None:
    section = only(tmp_path, [cell("mean", "none", 0, 0.1, pre="nnm"), cell("krum", "nan", 0, 0.1)])
    assert section.cleans_of == {}
    assert section.quality == NDCG
    assert set(section.strategies) == {"mean + nnm", "krum"}


def test_strategies_and_attacks_are_ordered_by_what_is_left(tmp_path: Path) -> None:
    section = only(tmp_path, rows(Shape()))
    assert section.strategies[0] == "sieve"
    assert section.strategies[-1] == "median"
    means = [section.mean(s, section.attacks, share_retained) for s in section.strategies]
    values = [m.mean for m in means if m is not None]
    assert values == sorted(values, reverse=True)
    harm = [
        sum(e.mean for s in section.strategies if (e := section.estimate(s, c, share_retained)))
        for c in section.attacks
    ]
    assert harm == sorted(harm)
    assert section.seeds == (0, 1, 2)


def test_varying_settings_go_where_they_belong(tmp_path: Path) -> None:
    base = row("synthetic", "sasrec", "krum", "nan", 0.2, 0)
    found = [
        base | {"cell": "a" * 12, "train.slice_size": 20, "strategy.byzantine": 0.1, "attack.params": "{}"},
        base | {"cell": "b" * 12, "train.slice_size": 30, "strategy.byzantine": 0.1, "attack.params": "{}"},
        base | {"cell": "c" * 12, "train.slice_size": 30, "strategy.byzantine": 0.2, "attack.params": "x"},
        base | {"cell": "d" * 12, "train.slice_size": 30, "start_round": 9, "pre": "[nnm, clip]"},
    ]
    parts, hidden = sections(read_grid(write(tmp_path, found, curves=False)))
    assert hidden == []
    assert [p.title for p in parts] == [
        "synthetic, sasrec (slice_size=20)",
        "synthetic, sasrec (slice_size=30)",
    ]
    assert set(parts[1].runs) == {
        ("krum (byzantine=0.1)", Condition("nan (from 1, params={})", 0.2)),
        ("krum (byzantine=0.2)", Condition("nan (from 1, params=x)", 0.2)),
        ("krum + nnm + clip", Condition("nan (from 9)", 0.2)),
    }


def test_a_setting_that_never_varies_names_nothing(tmp_path: Path) -> None:
    found = [one | {"strategy.byzantine": 0.2} for one in rows(Shape(rules=("krum",)))]
    assert only(tmp_path, found).strategies == ("krum",)


def test_of_two_cells_with_the_same_names_the_later_is_shown(tmp_path: Path) -> None:
    found = [cell("mean", "nan", 0, 0.1, cell="a" * 12), cell("mean", "nan", 0, 0.2, cell="b" * 12)]
    (section,), hidden = sections(read_grid(write(tmp_path, found, curves=False)))
    assert [c.id for c in section.cells] == ["b" * 12]
    assert [c.id for c in hidden] == ["a" * 12]


def test_failed_cells_are_in_no_section(tmp_path: Path) -> None:
    found = [cell("mean", "nan", 0, 0.1), cell("krum", "nan", 0, None, status="failed", error="x")]
    assert only(tmp_path, found).strategies == ("mean",)


def test_known_attacks_say_whether_they_promote_an_item() -> None:
    assert Condition("label_to_target (from 5)", 0.2).targeted
    assert not Condition("sign_flip", 0.2).targeted
    assert Condition("my_own_attack", 0.2).targeted
    assert [Condition(a, None).clean for a in ("none", "control", "nan")] == [True, True, False]


def test_parameters_of_an_attack_do_not_change_what_it_is() -> None:
    assert not Condition("scaling(scale=3, both=true)", 0.2).targeted
    assert Condition("adaptive(mode=row) (cold)", 0.2).targeted
    assert Condition("control (cold)", 0.2).clean


def test_targets_that_vary_make_conditions_of_their_own(tmp_path: Path) -> None:
    found = [
        cell(rule, attack, 0, 0.1, aim=aim, cell=f"{rule}{attack}{aim}")
        for rule in ("mean", "krum")
        for attack in ("control", "psmu")
        for aim in ("cold", "medium")
    ]
    section = only(tmp_path / "two", found)
    assert {c.attack for c in section.cleans} == {"control (cold)", "control (medium)"}
    assert {c.attack for c in section.attacks} == {"psmu (cold)", "psmu (medium)"}
    assert section.quality == share_retained
    assert len(section.cells) == len(found)
    figure = exposure(section)
    assert figure is not None
    (plot,) = figure.variants.values()
    assert isinstance(plot, Heatmap)
    assert set(plot.columns) == {c.attack for c in (*section.cleans, *section.attacks)}
    one = only(tmp_path / "one", [c for c in found if c["aim"] == "cold"])
    assert {c.attack for c in one.attacks} == {"psmu"}


def test_a_label_does_not_make_ours_a_baseline(tmp_path: Path) -> None:
    found = contest([0.2, 0.3], [0.1, 0.2], [0.1, 0.1])
    capped = [c | {"aggregator": "with a cap", "cell": f"c{c['seed']}"} for c in found[:2]]
    found = [c | {"rule": c["aggregator"]} for c in found] + [c | {"rule": "sieve"} for c in capped]
    section = only(tmp_path, found)
    assert section.ours("with a cap")
    assert best_baseline(section, section.attacks) == "krum"
    assert {one.strategy for one in by_condition(section)} == {"sieve", "with a cap"}


def test_the_grids_name_of_a_strategy_is_not_told_twice(tmp_path: Path) -> None:
    one = cell("nnm > krum", "nan", 0, 0.1, pre="nnm") | {"rule": "krum"}
    assert only(tmp_path, [one]).strategies == ("nnm > krum",)


def test_file_names_are_plain() -> None:
    assert slug("ml-100k, sasrec (rounds=9)") == "ml-100k-sasrec-rounds-9"
    assert slug("../../etc, 20 %") == "etc-20-pct"
    assert slug("%&") == "pct"
    assert slug("…") == "all"
    assert slug("журнал, sasrec") != slug("логи, sasrec")


def contest(ours: Iterable[float], krum: Iterable[float], median: Iterable[float]) -> list[Row]:
    sides = {"sieve": ours, "krum": krum, "median": median}
    return [cell(rule, "nan", seed, v) for rule, side in sides.items() for seed, v in enumerate(side)]


def test_ours_is_tested_against_the_best_baseline(tmp_path: Path) -> None:
    section = only(tmp_path, contest([0.12, 0.14, 0.16], [0.11, 0.12, 0.13], [0.05, 0.15, 0.01]))
    assert best_baseline(section, section.attacks) == "krum"
    (one,) = by_condition(section)
    assert (one.strategy, one.baseline, one.condition) == ("sieve", "krum", Condition("nan", 0.2))
    assert one.accuracy is not None
    assert one.accuracy.difference == pytest.approx(0.02)
    assert one.accuracy.p == pytest.approx(0.07418, abs=1e-5)  # differences .01 .02 .03
    assert one.p == one.accuracy.p
    assert one.exposure is None  # nan promotes nothing


def test_all_are_compared_overall_and_corrected_together(tmp_path: Path) -> None:
    section = only(tmp_path, contest([0.12, 0.14, 0.16], [0.11, 0.12, 0.13], [0.05, 0.06, 0.04]))
    found = {one.strategy: one for one in overall(section)}
    assert set(found) == {"sieve", "median"}
    raw = {s: one.accuracy.p for s, one in found.items() if one.accuracy is not None}
    low, high = sorted(raw, key=raw.__getitem__)
    assert found[low].p == pytest.approx(2 * raw[low])
    assert found[high].p == pytest.approx(max(2 * raw[low], raw[high]))


def test_without_ours_every_rule_is_compared_and_one_seed_tests_nothing(tmp_path: Path) -> None:
    section = only(tmp_path / "three", contest([], [0.1, 0.2, 0.1], [0.05, 0.1, 0.1]))
    assert [one.strategy for one in by_condition(section)] == ["median"]
    single = only(tmp_path / "one", contest([0.1], [0.2], [0.3]))
    assert [(one.accuracy, one.p) for one in by_condition(single)] == [(None, None)]


def test_a_grid_of_ours_alone_has_no_baseline(tmp_path: Path) -> None:
    section = only(tmp_path, contest([0.1, 0.2], [], []))
    assert best_baseline(section, section.attacks) is None
    assert overall(section) == by_condition(section) == []


def test_cells_are_plain_records() -> None:
    one = Cell({"cell": "x", "seed": "3", "status": "failed"}, {})
    assert (one.id, one.seed, one.done, one.label("pre")) == ("x", 3, False, "")


def exposed(rule: str, attack: str, seed: int, er: float, targets: str = "10,11") -> Row:
    return cell(rule, attack, seed, 0.1, targets=targets) | {"er@10": er}


PROMOTED = [
    *(exposed("mean", "parity", seed, 0.2 + 0.1 * seed) for seed in (0, 1)),
    *(exposed("sieve", "parity", seed, 0.05) for seed in (0, 1)),
    *(exposed("mean", "adaptive", seed, 0.6) for seed in (0, 1)),
    *(exposed("sieve", "adaptive", seed, 0.04 + 0.05 * seed) for seed in (0, 1, 2)),
    *(exposed("sieve", "sign_flip", seed, 0.9) for seed in (0, 1)),
]


def test_exposure_beyond_parity_is_of_the_same_strategy_and_seed(tmp_path: Path) -> None:
    section = only(tmp_path, PROMOTED)
    adaptive = Condition("adaptive", 0.2)
    assert section.by_seed("sieve", adaptive, beyond) == pytest.approx({0: -0.01, 1: 0.04})
    assert section.by_seed("sieve", adaptive, beyond_plain) == pytest.approx({0: -0.16, 1: -0.21})
    assert section.by_seed("mean", adaptive, beyond) == pytest.approx({0: 0.4, 1: 0.3})
    assert section.by_seed("sieve", adaptive, er_over_plain) == pytest.approx({0: -0.56, 1: -0.51})
    assert section.promotions == (adaptive,)  # sign_flip promotes nothing, parity is the yardstick


def test_parity_with_another_target_is_no_yardstick(tmp_path: Path) -> None:
    found = [exposed("mean", "parity", 0, 0.2, targets="7"), exposed("mean", "adaptive", 0, 0.6)]
    section = only(tmp_path, found)
    assert section.by_seed("mean", Condition("adaptive", 0.2), beyond) == {}


def test_parity_in_other_rounds_is_no_yardstick(tmp_path: Path) -> None:
    """Attackers who begin late do less, and so does their parity."""
    late = {"parity": {1: 0.5, 90: 0.1}, "psmu": {1: 0.6, 90: 0.15}}
    found = [
        exposed("mean", attack, 0, er) | {"start_round": start}
        for attack, by_start in late.items()
        for start, er in by_start.items()
    ]
    section = only(tmp_path / "start", found)
    gains = {c.attack: section.by_seed("mean", c, beyond) for c in section.promotions}
    assert gains == {"psmu (from 1)": pytest.approx({0: 0.1}), "psmu (from 90)": pytest.approx({0: 0.05})}
    rests = [one | {"start_round": 1, "attack.period": one["start_round"]} for one in found]
    section = only(tmp_path / "period", rests)
    gains = {c.attack: section.by_seed("mean", c, beyond) for c in section.promotions}
    assert [list(of.values()) for of in gains.values()] == [[pytest.approx(0.1)], [pytest.approx(0.05)]]
    alone = [*found[:1], *found[3:]]  # parity from 1, psmu from 90
    section = only(tmp_path / "alone", alone)
    assert [section.by_seed("mean", c, beyond) for c in section.promotions] == [{}]


def test_when_no_attack_begins_tells_no_clean_runs_apart(tmp_path: Path) -> None:
    found = [cell("mean", "control", 0, 0.1, start_round=start) for start in (1, 90)]
    found += [cell("mean", "nan", 0, 0.05, start_round=start) for start in (1, 90)]
    section = only(tmp_path, found)  # it hides nothing
    assert [section.by_seed("mean", c, share_retained) for c in section.attacks] == [{0: 0.5}, {0: 0.5}]


def test_clean_runs_with_other_targets_are_not_one(tmp_path: Path) -> None:
    found = [
        cell("mean", "control", 0, 0.1, targets=t) | {"attack.target_count": len(t)} for t in ("1", "22")
    ]
    _, hidden = sections(read_grid(write(tmp_path, found, curves=False)))
    assert len(hidden) == 1


def test_the_plain_mean_is_known_by_its_rule_whatever_it_is_called(tmp_path: Path) -> None:
    found = [
        cell("FedAvg", "control", 0, 0.1) | {"rule": "mean"},
        cell("mean", "control", 0, 0.3) | {"rule": "krum"},
        cell("sieve", "nan", 0, 0.05) | {"rule": "sieve"},
    ]
    section = only(tmp_path, found)
    assert section.plain == "FedAvg"
    assert section.by_seed("sieve", Condition("nan", 0.2), share_retained) == pytest.approx({0: 0.5})


def test_where_a_setting_varies_each_is_measured_by_the_mean_with_it(tmp_path: Path) -> None:
    ndcg = {("mean", "control"): 0.1, ("krum", "nan"): 0.05}
    found = [
        cell(rule, attack, 0, lr * value) | {"strategy.lr": lr}
        for (rule, attack), value in ndcg.items()
        for lr in (1, 2)
    ]
    section = only(tmp_path, found)
    assert section.plain is None
    assert section.plain_for("krum (lr=2)") == "mean (lr=2)"
    kept = [section.by_seed(f"krum (lr={lr})", Condition("nan", 0.2), share_retained) for lr in (1, 2)]
    assert kept == [pytest.approx({0: 0.5}), pytest.approx({0: 0.5})]


def test_without_parity_nothing_is_measured_beside_it(tmp_path: Path) -> None:
    section = only(tmp_path, [exposed("mean", "adaptive", 0, 0.6), exposed("sieve", "adaptive", 0, 0.1)])
    assert section.promotions == ()
    assert beyond_parity(section) is None
    assert "ER@10 beyond parity, worst" not in [c.title for c in main_table(section).columns]


def test_the_oracle_is_the_mean_of_the_honest_devices_alone(tmp_path: Path) -> None:
    found = [cell("mean", "control", 0, 0.10), cell("mean", "slow_reply", 0, 0.08)]
    found += [cell("sieve", "sign_flip", 0, 0.06), cell("sieve", "sign_flip", 1, 0.07)]
    section = only(tmp_path / "with", found)
    assert of_oracle(section, "sieve", Condition("sign_flip", 0.2)) == {0: pytest.approx(0.75)}
    other = [*found[:1], cell("mean", "slow_reply", 0, 0.08, malicious_share=0.05), found[2]]
    assert of_oracle(only(tmp_path / "share", other), "sieve", Condition("sign_flip", 0.2)) == {}
    table = beside_table(section)
    assert table is not None
    place = [c.title for c in table.columns].index("of the oracle")
    assert [number(row[place]) for row in table.rows if row[0] == "sieve"] == [pytest.approx(0.75)]
    without = beside_table(only(tmp_path / "without", [found[0], *found[2:]]))
    assert without is not None
    assert "of the oracle" not in [c.title for c in without.columns]


def test_the_table_beside_the_mean_and_parity(tmp_path: Path) -> None:
    table = beside_table(only(tmp_path, PROMOTED))
    assert table is not None
    titles = [c.title for c in table.columns]
    rows = {(row[0], row[1]): dict(zip(titles, row, strict=True)) for row in table.rows}
    gain = rows["sieve", "adaptive"]["beyond parity"]
    assert isinstance(gain, Estimate)
    assert (gain.mean, gain.n) == (pytest.approx(0.015), 2)
    assert rows["sieve", "parity"]["beyond parity"] is None
    assert rows["mean", "adaptive"]["less the mean's ER@10"] is None
    assert rows["sieve", "sign_flip"]["ER@10"] is None
