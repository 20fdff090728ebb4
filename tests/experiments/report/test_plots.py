"""What the plots of a section show."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.report.accuracy import Curves, bands, exposure, learning, palette, retained, tradeoff, worst
from experiments.report.defence import cost, rejections, relative_weight, rows, weights
from experiments.report.drawing import draw
from experiments.report.names import Condition
from experiments.report.plots import Figure, Heatmap, Lines, Panels, Plot, Ranks, Scatter
from experiments.report.reading import read_grid
from experiments.report.section import NDCG, Section, sections, share_retained
from tests.experiments.report import samples
from tests.experiments.report.samples import Shape, write

NAN = Condition("nan", 0.2)
MALICIOUS = "weight.malicious"


def section_of(folder: Path, shape: Shape) -> Section:
    return sections(read_grid(write(folder, samples.rows(shape))))[0][0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grid")


@pytest.fixture(scope="module")
def section(folder: Path) -> Section:
    return section_of(folder, Shape(shares=(0.05, 0.2)))


def plots(figure: Figure | None) -> dict[str, Plot]:
    assert figure is not None
    return dict(figure.variants)


def test_heatmaps_hold_the_estimates_by_share(section: Section) -> None:
    found = plots(retained(section))
    assert list(found) == ["20 %", "5 %"]
    plot = found["20 %"]
    assert isinstance(plot, Heatmap)
    assert plot.columns[0] == "control"
    assert set(plot.columns[1:]) == {"sign_flip", "label_to_target", "nan"}
    at = plot.cells[plot.rows.index("krum")][plot.columns.index("nan")]
    assert at == section.estimate("krum", NAN, share_retained)
    assert plot.strong == {"sieve"}
    mean = plot.cells[plot.rows.index("mean")][0]
    assert mean is not None
    assert mean.mean == pytest.approx(1.0)


def test_exposure_is_of_attacks_that_promote(section: Section) -> None:
    for plot in plots(exposure(section)).values():
        assert isinstance(plot, Heatmap)
        assert list(plot.columns) == ["control", "label_to_target"]
        assert (plot.worst, plot.best) == (1.0, 0.0)


def test_a_grid_without_attacks_or_clean_runs_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    clean = section_of(tmp_path / "clean", Shape(attacks=("none",), seeds=(0,)))
    assert tradeoff(clean) is None
    ((variant, plot),) = plots(retained(clean)).items()
    assert (variant, isinstance(plot, Heatmap) and list(plot.columns)) == ("", ["none"])
    attacked = section_of(tmp_path / "attacked", Shape(attacks=("nan",), seeds=(0,)))
    figure = retained(attacked)
    assert figure is not None
    assert (figure.title, attacked.quality) == ("NDCG@10", NDCG)
    assert exposure(attacked) is None


def test_the_tradeoff_joins_clean_accuracy_and_robustness(section: Section) -> None:
    found = plots(tradeoff(section))
    assert list(found) == ["mean over attacks", "worst attack", "exposure"]
    scatter = found["worst attack"]
    assert isinstance(scatter, Scatter)
    (sieve,) = (p for p in scatter.points if p.strong)
    assert sieve.front
    assert sieve.y == worst(section, "sieve")
    assert sieve.x == section.mean("sieve", section.cleans, NDCG)
    assert not next(p for p in scatter.points if p.name == "median").front
    named = {p.name for p in scatter.points if p.named}
    assert named == {"mean", "sieve"} | {p.name for p in scatter.points if p.front}
    assert "median" not in named
    assert scatter.marks == {"popularity": 0.045, "markov": 0.077}


def test_curves_are_means_over_the_seeds_of_a_cell(folder: Path, section: Section) -> None:
    curves = Curves(folder)
    ndcg, er = learning(section, curves)
    assert curves.lost == 0
    assert "label_to_target, 20 %" in er.variants
    assert "nan, 20 %" not in er.variants
    plot = ndcg.variants["nan, 20 %"]
    assert isinstance(plot, Lines)
    krum = next(line for line in plot.lines if line.name == "krum")
    assert list(krum.x) == [3, 6, 9, 12]
    values = section.by_seed("krum", NAN, "valid.ndcg@10").values()
    assert krum.points[-1].mean == pytest.approx(sum(values) / 3)
    assert krum.points[-1].n == 3
    assert krum.points[1].mean == pytest.approx(krum.points[3].mean / 2)


def test_missing_and_damaged_curves_are_counted(tmp_path: Path) -> None:
    section = section_of(tmp_path, Shape(rules=("mean",), attacks=("nan",)))
    first, second, _ = section.cells
    (tmp_path / "cells" / first.id / "metrics.jsonl").unlink()
    (tmp_path / "cells" / second.id / "metrics.jsonl").write_text('{"round": 1, ')
    curves = Curves(tmp_path)
    (figure,) = learning(section, curves)
    plot = figure.variants["nan"]
    assert curves.lost == 2
    assert isinstance(plot, Lines)
    assert {point.n for line in plot.lines for point in line.points} == {1}


@pytest.mark.parametrize(
    ("every", "text"),
    [
        (0, "with eval.every = 0 each run was validated once, at its end; set it to a number of rounds"),
        (50, "with eval.every = 50 each run was validated once, at its end; set it to fewer rounds"),
        (None, "with eval.every each run was validated once"),
    ],
)
def test_without_two_points_the_figure_says_which_setting_is_why(
    tmp_path: Path, every: int | None, text: str
) -> None:
    shape = Shape(attacks=("psmu",), seeds=(0, 1), rounds=(12,))
    found = samples.rows(shape)
    folder = write(tmp_path, found, shape.rounds, every=every)
    curves = Curves(folder)
    (figure,) = learning(sections(read_grid(folder))[0][0], curves)
    assert curves.lost == 0
    assert figure.variants == {}
    assert text in figure.note
    assert "\n" not in figure.note


def test_a_damaged_config_does_not_hide_the_reason(tmp_path: Path) -> None:
    found = samples.rows(Shape(attacks=("psmu",), seeds=(0,), rules=("mean",)))
    folder = write(tmp_path, found, (12,), every=0)
    (folder / "cells" / found[0]["cell"] / "config.yaml").write_text("eval: [")
    (figure,) = learning(sections(read_grid(folder))[0][0], Curves(folder))
    assert figure.note.startswith("None: with eval.every each run")


def test_curves_that_nobody_wrote_have_no_place(tmp_path: Path) -> None:
    folder = write(tmp_path, samples.rows(Shape(seeds=(0,))), curves=False)
    curves = Curves(folder)
    assert learning(sections(read_grid(folder))[0][0], curves) == []
    assert curves.lost == 20


def test_bands_end_where_a_seed_ends() -> None:
    assert list(bands([{1: 0.1, 2: 0.2, 3: 0.3}, {1: 0.3, 2: 0.2}])) == [1, 2]
    assert bands([]) == {}


def test_colours_go_to_ours_the_mean_and_the_best(tmp_path: Path) -> None:
    rules = ("mean", "krum", "median", "norm_clip", "dnc", "caf", "mda", "rlr", "lasa", "flame", "sieve")
    section = section_of(tmp_path, Shape(rules=rules, seeds=(0,)))
    found = palette(section)
    assert list(found)[:2] == ["sieve", "mean"]
    assert sorted(found.values()) == list(range(8))


def test_weights_are_relative_to_the_honest(section: Section) -> None:
    found = relative_weight(section, "krum", NAN, "weight.malicious")
    assert found is not None
    assert found.mean == pytest.approx(0.5)
    assert relative_weight(section, "median", NAN, "weight.malicious") is None
    plot = plots(weights(section))["nan, 20 %"]
    assert isinstance(plot, Ranks)
    assert set(plot.names) == {"sieve", "mean", "krum"}
    assert [s.name.removeprefix("honest ") for s in plot.series] == [
        *("malicious", "q1 (shortest)", "q2", "q3", "q4 (longest)")
    ]
    assert [s.apart for s in plot.series] == [True, False, False, False, False]


def test_the_hardest_attacks_stand_side_by_side(section: Section, tmp_path: Path) -> None:
    title, plot = next(iter(plots(weights(section)).items()))
    assert title == "the three hardest attacks"
    assert isinstance(plot, Panels)
    hardest = [section.called(c) for c in section.attacks if c.share == 0.2]
    assert [one.title for one in plot.panels] == hardest
    first = plot.panels[0]
    for one in plot.panels:
        assert one.names == first.names
        assert [len(s.values) for s in one.series] == [len(first.names)] * 5
    krum = first.names.index("krum")
    assert first.series[0].values[krum] == relative_weight(section, "krum", section.attacks[0], MALICIOUS)
    drawn = draw(plot)
    assert [one.text for one in drawn.layout.annotations] == [f"<b>{name}</b>" for name in hardest]
    assert [one.xaxis for one in drawn.data] == ["x"] * 5 + ["x2"] * 5 + ["x3"] * 5
    assert [one.marker.symbol for one in drawn.data[:2]] == ["x", "circle"]
    assert drawn.layout.meta["least"] > 660
    alone = section_of(tmp_path, Shape(attacks=("control", "psmu")))
    assert list(plots(weights(alone))) == ["psmu", "control"]


def test_attacks_whose_devices_never_got_a_weight_are_not_among_the_hardest(tmp_path: Path) -> None:
    found = samples.rows(Shape(attacks=("psmu", "nan", "sign_flip"), seeds=(0,)))
    refused = [one | {MALICIOUS: None} if one["attack"] == "nan" else one for one in found]
    section = sections(read_grid(write(tmp_path, refused)))[0][0]
    plot = next(iter(plots(weights(section)).values()))
    assert isinstance(plot, Panels)
    assert {one.title for one in plot.panels} == {"psmu", "sign_flip"}


def test_a_strategy_that_was_weighed_under_one_attack_alone_keeps_its_line(tmp_path: Path) -> None:
    found = samples.rows(Shape(attacks=("psmu", "sign_flip"), seeds=(0,)))
    names = [name for name in found[0] if name.startswith("weight.")]
    some = [
        one | dict.fromkeys(names) if (one["aggregator"], one["attack"]) == ("krum", "psmu") else one
        for one in found
    ]
    plot = next(iter(plots(weights(sections(read_grid(write(tmp_path, some)))[0][0])).values()))
    assert isinstance(plot, Panels)
    at = {one.title: one.series[0].values[list(one.names).index("krum")] for one in plot.panels}
    assert at["psmu"] is None
    assert at["sign_flip"] is not None


def test_rows_and_rejections_leave_out_what_is_zero(section: Section, tmp_path: Path) -> None:
    plot = plots(rows(section))["all attacks"]
    assert isinstance(plot, Ranks)
    assert set(plot.names) == {"sieve", "median"}
    refused = plots(rejections(section))[""]
    assert isinstance(refused, Ranks)
    assert list(refused.names) == ["nan, 20 %", "nan, 5 %"]
    calm = section_of(tmp_path, Shape(attacks=("control", "zero"), seeds=(0,)))
    nothing = rejections(calm)
    assert nothing is not None
    assert (nothing.variants, nothing.note) == ({}, "None: every reply of every run was admitted.")
    still = section_of(tmp_path / "still", Shape(rules=("mean", "krum"), seeds=(0,)))
    none = rows(still)
    assert none is not None
    assert (none.variants, none.note) == ({}, "None: no strategy froze or clipped a row.")
    assert "no attack" not in plots(rows(only_under_attack(tmp_path / "some")))
    assert next(iter(plots(rows(only_under_attack(tmp_path / "some"))))) == "all attacks"


def only_under_attack(folder: Path) -> Section:
    found = samples.rows(Shape(rules=("median",), attacks=("control", "psmu")))
    changed = [one | {"frozen_rows": 0.0} if one["attack"] == "control" else one for one in found]
    return sections(read_grid(write(folder, changed)))[0][0]


def test_cost_is_in_the_units_it_says(section: Section) -> None:
    plot = plots(cost(section))["bytes up"]
    assert isinstance(plot, Ranks)
    assert plot.x == "Uploaded, MB"
    assert {round(e.mean, 4) for e in plot.series[0].values if e} == {3.2556}
