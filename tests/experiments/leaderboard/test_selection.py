"""``--only`` chooses cells by name, label and number, and names what is wrong."""

from __future__ import annotations

import pytest

from common.errors import ConfigError
from experiments.leaderboard.selection import LABELS, check, command, fits, parse

CELLS = [
    dict(zip(LABELS.values(), (data, "sasrec", rule, attack, share, seed), strict=True))
    for data in ("ml-100k", "ml-100k, last 10")
    for rule in ("mean", "my.rules:Mine(share=0.6, cut=2)")
    for attack in ("ipm", "adaptive(mode=row)", "adaptive(mode=encoder)")
    for share in (0.05, 0.2)
    for seed in (0, 1)
]


def chosen(*texts: str) -> int:
    found = parse(texts)
    check(found, CELLS)
    return sum(fits(found, cell) for cell in CELLS)


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        ((), 48),
        (("data=ml-100k",), 24),
        (("data=ml-100k, last 10,rule=mean",), 12),
        (("rule=mean,attack=ipm", "attack=adaptive(mode=row)"), 16),
        (("attack=adaptive",), 32),
        (("rule=my.rules:Mine(share=0.6, cut=2),share=20 %,seed=1",), 6),
        (("share=0.050",), 24),
    ],
)
def test_cells_are_chosen(texts: tuple[str, ...], count: int) -> None:
    assert chosen(*texts) == count
    assert chosen(command(parse(texts))) == count if texts else True


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "dta=ml-100k",
            "--only 'dta=ml-100k': did you mean 'data'? valid: data, model, rule, attack, share, seed",
        ),
        ("mean", "--only 'mean'; valid: data, "),
        ("rule=meen", "--only rule=meen: did you mean 'mean'? valid: "),
        ("share=a few", "--only share=a few; valid: 0.05, 0.2"),
    ],
)
def test_what_is_wrong_is_named(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        chosen(text)
    assert str(error.value).startswith(told)


def test_a_choice_that_fits_no_cell_is_an_error() -> None:
    cells = [one for one in CELLS if one["aggregator"] == "mean" or one["attack"] == "ipm"]
    with pytest.raises(ConfigError, match="no cell of the protocol has all of this"):
        check(parse(["rule=my.rules:Mine,attack=adaptive"]), cells)
