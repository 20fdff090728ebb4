"""The cap on how many users an item is recommended to, against plain loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import ConfigError
from common.probes import Audience
from common.tasks import GlobalModel
from server.constraints import Evidence
from server.constraints.exposure import ExposureCap, Holders, Recipe
from server.constraints.panel import PULLED, TRAINED, RoundMarks
from server.constraints.together import FADES, Together
from server.optimizers import ParameterUpdate, State
from tests.server.constraints.helpers import D, N, apply, evidence, model, step, users

P, TOP = 64, 10


def population(seed: int = 0) -> Audience:
    """Users with a common direction, each of whom has seen five items."""
    g = torch.Generator().manual_seed(seed)
    seen = torch.stack([torch.randperm(N, generator=g)[:5] + 1 for _ in range(P)])
    return Audience(seen, 0.5 * torch.randn(P, D, generator=g) + 2 * torch.eye(D)[0])


def held(counts: dict[int, int]) -> RoundMarks:
    """One round of 40 devices on all rows; so many of them pulled the item."""
    marks = torch.full((40, N), TRAINED, dtype=torch.int8)
    for item, count in counts.items():
        marks[:count, item - 1] = PULLED
    return RoundMarks(1, [(1, k) for k in range(40)], torch.arange(1, N + 1, dtype=torch.int32), marks)


def given(seen: RoundMarks, who: Audience | None = None) -> Evidence:
    made = who or population()
    return replace(evidence(), users=lambda after, count, taste: made, round_marks=seen)


def exposures(table: torch.Tensor, who: Audience) -> np.ndarray:
    """Share of users who get each item among their first TOP unseen ones: [N]."""
    gets = np.zeros(N)
    for history, state in zip(who.histories.tolist(), who.states.double().numpy(), strict=True):
        scores = table[1:].double().numpy() @ state
        for item in history:
            if item:
                scores[item - 1] = -np.inf
        gets[np.argsort(-scores, kind="stable")[:TOP]] += 1
    return gets / len(who.states)


def limits(
    table: torch.Tensor, who: Audience, seen: RoundMarks, quantile: float, floor: float, near: int = 32
) -> np.ndarray:
    """max(floor, s⁺ · the quantile of x_j/s_j over the nearest others) from counts of holders: [N]."""
    pulled, trained = (seen.marks == PULLED).sum(0).numpy(), (seen.marks > 0).sum(0).numpy() + 5
    exposure, order = exposures(table, who), np.argsort(pulled / trained, kind="stable").tolist()
    gain = exposure / np.maximum(pulled, 1) * trained
    found = np.zeros(N)
    for place, item in enumerate(order):
        first = min(max(place - near // 2, 0), N - near - 1)
        beside = [order[k] for k in range(first, first + near + 1) if order[k] != item]
        assert len(beside) == near
        share, n = pulled[item] / trained[item], trained[item]
        most = (share + 2 / n + 2 * np.sqrt(share * (1 - share) / n + 1 / n**2)) / (
            1 + 4 / n
        )  # Wilson, z = 2
        found[item] = max(floor, most * np.quantile(gain[beside], quantile))
    return found


def pushed(item: int, strength: float) -> tuple[GlobalModel, ParameterUpdate]:
    """A step that raises one item along the users' common direction; all rows are in the slice."""
    rows = torch.zeros(N, D)
    rows[item - 1, 0] = strength
    return model(), ParameterUpdate({}, rows, torch.arange(1, N + 1, dtype=torch.int32))


def small(floor: float = 0.01, quantile: float = 0.9, **given_recipe: Any) -> ExposureCap:
    """The cap with P users a round, and what else of its recipe a test sets."""

    class Small(ExposureCap):
        recipe = Recipe(**({"probes": P} | given_recipe))

    return Small(floor, quantile)


def capped(
    at: GlobalModel, delta: ParameterUpdate, found: Evidence, **params: Any
) -> tuple[ParameterUpdate, dict[str, float]]:
    cap = small(**params)
    after, _, figures = cap(at, delta, cap.init(at), found)
    return after, figures


@pytest.mark.parametrize("quantile", [0.5, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_over_and_by_how_much_agrees_with_loops(seed: int, quantile: float) -> None:
    at, delta, who = model(seed), step(seed, 1.0), population(seed)
    g = torch.Generator().manual_seed(seed)
    seen = held({item: int(torch.randint(0, 30, (1,), generator=g)) for item in range(1, N + 1)})
    after, figures = capped(at, delta, given(seen, who), quantile=quantile)
    table = at.table.index_add(0, delta.items.long(), delta.rows)
    share, limit = exposures(table, who), limits(table, who, seen, quantile, 0.01)
    items = delta.items.long() - 1
    over = torch.from_numpy(share > limit)[items]
    assert figures["exposure_cap.clipped"] == pytest.approx(float(over.double().mean()))
    assert 0 < float(over.double().mean()) < 1
    assert torch.equal((after.rows != delta.rows).any(dim=1), over)
    for place in over.nonzero().flatten().tolist():  # one at a time, as each was measured beside the others
        alone = table.clone()  # a touch further, as the last user who goes is left at a tie
        alone[items[place] + 1] += 1.001 * (after.rows[place] - delta.rows[place])
        item = int(items[place])
        allowed = int(limit[item] * P)  # whole users
        assert exposures(alone, who)[item] * P <= allowed
        less = table.clone()  # and no further than needed
        less[items[place] + 1] += 0.999 * (after.rows[place] - delta.rows[place])
        assert exposures(less, who)[item] * P >= min(allowed, share[item] * P)


def test_an_item_nobody_holds_is_shown_to_a_few_though_it_is_pushed_up_for_all() -> None:
    at, delta = pushed(3, 100.0)
    seen = held({item: 20 for item in range(1, N + 1) if item != 3})
    table = at.table.index_add(0, delta.items.long(), delta.rows)
    assert exposures(table, population())[2] > 0.9
    allowed = limits(table, population(), seen, 0.9, 0.05)[2]
    assert allowed < 0.2
    after, _ = capped(at, delta, given(seen), floor=0.05)
    table = at.table + torch.cat([torch.zeros(1, D), after.rows])
    assert exposures(table, population())[2] <= allowed + 2 / P  # two others come down too, and make room


@pytest.mark.parametrize(("holders", "passes"), [(40, True), (2, False)])
def test_the_same_push_passes_for_the_item_that_most_devices_hold(holders: int, passes: bool) -> None:
    at, delta = pushed(3, 100.0)
    seen = held({**dict.fromkeys(range(1, N + 1), 2), 3: holders})
    after, _ = capped(at, delta, given(seen), quantile=0.97)
    assert torch.equal(after.rows[2], delta.rows[2]) is passes


@pytest.mark.parametrize(("trained", "passes"), [(4, True), (40, False)])
def test_an_item_of_which_little_is_known_has_the_benefit_of_the_doubt(trained: int, passes: bool) -> None:
    """Nobody pulled it: of four devices that trained it that says little, of forty enough."""
    at, delta = pushed(3, 1.3)
    seen = held({item: 10 for item in range(1, N + 1) if item != 3})
    seen.marks[trained:, 2] = 0
    after, _ = capped(at, delta, given(seen), quantile=0.97)
    assert torch.equal(after.rows[2], delta.rows[2]) is passes


def test_an_item_outside_the_slice_stays() -> None:
    at, delta = pushed(3, 0.0)
    at.table[3, 0] = 100.0
    seen = held(dict.fromkeys(range(10, N + 1), 20))
    rest = ParameterUpdate({}, delta.rows[3:], delta.items[3:])
    after, _ = capped(at, rest, given(seen))
    assert len(after.rows) == N - 3
    inside, _ = capped(at, delta, given(seen))
    assert inside.rows[2, 0] < -1  # though nobody moved it


def test_holders_of_earlier_rounds_count() -> None:
    at, delta = pushed(3, 100.0)
    chain = small(quantile=0.97)
    state: State = chain.init(at)
    _, state, _ = chain(at, delta, state, given(held({**dict.fromkeys(range(1, N + 1), 2), 3: 40})))
    later = RoundMarks(
        2, [(1, 40)], torch.tensor([3], dtype=torch.int32), torch.tensor([[TRAINED]]).to(torch.int8)
    )
    after, _, _ = chain(at, delta, state, given(later))
    assert torch.equal(after.rows[2], delta.rows[2])


def test_it_asks_for_users_with_a_taste_after_the_step() -> None:
    at, delta = pushed(3, 1.0)
    asked = []

    def made(after: ParameterUpdate, count: int, taste: float) -> Audience:
        asked.append((after is delta, count, taste))
        return population()

    capped(at, delta, replace(given(held({})), users=made), taste=3.0)
    assert asked == [(True, P, 3.0)]


def test_a_list_with_room_for_all_sets_no_cap() -> None:
    at, delta = pushed(3, 100.0)
    seen = held(dict.fromkeys(range(10, N + 1), 20))
    everyone = given(seen, users(population().states))
    after, _ = capped(at, delta, everyone, top=N)
    assert torch.equal(after.rows, delta.rows)


def test_real_users_are_looked_at_as_well_with_a_floor_of_their_own() -> None:
    at, delta = pushed(3, 100.0)
    seen, asked = held(dict.fromkeys(range(10, N + 1), 20)), []

    def shown(most: int) -> Audience:
        asked.append(most)
        return population()

    blind = given(seen, users(-population().states))  # who is made up sees nothing
    for floor in (0.05, 0.4):
        after, _ = capped(at, delta, replace(blind, witnesses=shown), floor=floor / 3, witnesses=7)
        table = at.table + torch.cat([torch.zeros(1, D), after.rows])
        assert floor - 2 / P <= exposures(table, population())[2] <= floor + 2 / P
    assert asked == [7, 7]
    unseen, _ = capped(at, delta, replace(blind, witnesses=shown), witnesses=0)
    assert unseen.rows[2, 0] == 100
    assert asked == [7, 7]


@pytest.mark.parametrize("real", [False, True], ids=["made up", "witnesses"])
def test_one_round_over_the_limit_is_forgiven_if_the_rounds_before_were_below(real: bool) -> None:
    at, low = pushed(3, -100.0)
    slightly, far = pushed(3, 1.05)[1], pushed(3, 100.0)[1]
    seen, nobody = (
        held(dict.fromkeys(range(1, N + 1), 20)),
        Audience(torch.zeros(0, 1).long(), torch.zeros(0, D)),
    )
    found = given(seen, nobody if real else population())
    found = replace(found, witnesses=lambda most: population() if real else nobody)
    table = at.table.index_add(0, slightly.items.long(), slightly.rows)
    share = exposures(table, population())[2]
    chain = small(floor=0.05, witness_floor=1.0)

    def moved(*steps: ParameterUpdate) -> list[bool]:
        state, rows = chain.init(at), []
        for delta in steps:
            after, state, _ = chain(at, delta, state, found)
            rows.append(bool((after.rows[2] != delta.rows[2]).any()))
        return rows

    assert 0.07 < share < 0.14
    assert moved(slightly) == [True], "the test would pass without a limit"
    assert not any(moved(*(8 * [low]), slightly))
    assert moved(*(8 * [low]), *(8 * [slightly]))[-1], "for ever would be a licence"
    assert moved(*(20 * [low]), far)[-1], "credit is not saved up"


@pytest.mark.parametrize(
    "params",
    [
        {"floor": -0.1},
        {"floor": 1.0},
        {"quantile": -0.1},
        {"quantile": 1.0},
        {"probes": 64},
    ],
)
def test_invalid_parameters_are_refused(params: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="exposure_cap"):
        apply("exposure_cap", step(), **params)


def test_users_ranked_in_blocks_get_the_same_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    cap, who = ExposureCap(), population()
    table = model().table
    items, above = cap.lists(table, who)
    assert items.shape == above.shape == (P, TOP)
    counts = items[above > 0].bincount(minlength=N).numpy() / P
    assert np.allclose(counts, exposures(table, who))
    monkeypatch.setattr("server.constraints.exposure.SCORES", 5 * len(table))
    again, beyond = cap.lists(table, who)
    assert torch.equal(again, items)
    torch.testing.assert_close(beyond, above)


def entitled(alike: torch.Tensor) -> torch.Tensor:
    """What items get that are held by a fifth of the devices each and shown to a tenth: [n]."""
    share = torch.full((len(alike),), 0.2, dtype=torch.float64)
    return Holders(share, share, share / 10, alike.double()).entitled(share / 2, 32, 0.9)


def test_holders_who_act_as_one_are_entitled_to_less() -> None:
    """Of 40 items with as many holders: twice as alike as the others may be by chance, three times not."""
    alike = torch.full((40,), 0.02)
    alike[0], alike[1] = 0.04, 0.06
    assert entitled(alike).tolist() == pytest.approx([0.1, 0.1 * (2 / 3) ** 2, *[0.1] * 38])


def test_what_is_noise_says_nothing() -> None:
    """Where no holders are alike, a little more than nothing is no evidence."""
    alike = torch.zeros(40)
    alike[0], alike[1] = 0.02, 0.04
    assert entitled(alike).tolist() == pytest.approx([0.1, 0.025, *[0.1] * 38])


@pytest.mark.parametrize("decoys", [3, 4, 8, 16])
@pytest.mark.parametrize("own", [True, False])
def test_other_items_of_the_attackers_do_not_make_it_usual(decoys: int, own: bool) -> None:
    """Item 1 and its decoys among 40 items with as many holders: held by the same attackers, or by others."""
    share = torch.full((40,), 0.2, dtype=torch.float64)
    alike = torch.zeros(40, dtype=torch.float64)
    alike[: decoys + 1] = 0.09
    shown = torch.full((40,), 0.1, dtype=torch.float64)
    shown[1 : decoys + 1] = 0.4  # what they bring is no yardstick either
    holds = torch.zeros(24, 40)  # 12 attackers and 12 people, who hold the other items
    holds[:12, : decoys + 1] = 1
    if not own:
        holds[:6, 1 : decoys + 1], holds[6:12, 0] = 0, 0
        holds[:6, 0] = 1
    holds[12:, decoys + 1 :] = 1
    cosines = torch.zeros(24, 24)
    cosines[:12, :12] = 0.09
    together = Together.among(torch.arange(40), holds, cosines.fill_diagonal_(0.0))
    limits = [
        float(Holders(share, share, share / 10, alike, known).entitled(shown, 32, 0.9)[0])
        for known in (together, None)
    ]
    assert limits[0] == pytest.approx(0.1 * (0.02 / 0.09) ** 2)
    assert decoys < 4 or limits[1] > 0.05, "the test would pass without the comparison"


def test_devices_that_act_as_one_and_hold_what_others_hold_lower_no_limit() -> None:
    """Attackers with one encoder, until they are found out: all items are as alike, and none is to be cut."""
    share = torch.full((40,), 0.2, dtype=torch.float64)
    holds = torch.ones(24, 40)
    cosines = torch.zeros(24, 24)
    cosines[:12, :12] = 1.0
    together = Together.among(torch.arange(40), holds, cosines.fill_diagonal_(0.0))
    alike = torch.full((40,), 0.2, dtype=torch.float64)
    found = Holders(share, share, share / 10, alike, together).entitled(share / 2, 32, 0.9)
    assert found.tolist() == pytest.approx([0.1] * 40)


@pytest.mark.parametrize("decoys", [0, 6])
def test_the_cap_asks_whether_the_holders_of_an_item_act_by_themselves(decoys: int) -> None:
    """Two runs of the same rounds; in one the encoders of those who hold the item shown most are alike.

    They hold other items as well, that would be its measure.
    """
    items = step().items.long()
    shown = exposures(model().table.index_add(0, items, step().rows), population())[items.numpy() - 1]
    most = int(shown.argmax())
    assert shown[most] > 0.1
    marks = held(dict.fromkeys(range(1, N + 1), 12))
    column = int(items[most]) - 1
    beside = sorted((j for j in range(N) if j + 1 not in items), key=lambda j: abs(j - column))
    for j in (column, *beside[:decoys]):
        marks.marks[:, j] = marks.marks[:, j].flip(0)  # other devices hold it
    together = torch.zeros(40, 40)
    together[28:, 28:] = 0.2
    together.fill_diagonal_(0.0)
    moved = []
    for alike in (torch.zeros(40, 40), together):
        cap = ExposureCap(floor=0.0)
        state: State = cap.init(model())
        for _ in range(30):
            after, state, _ = cap(model(), step(), state, given(replace(marks, alike=alike)))
        moved.append((after.rows - step().rows).norm(dim=1))
    more = moved[1] - moved[0]  # [K]
    assert float(more[most]) > 0.01
    more[most] = 0
    assert not bool(more.any())


def test_what_holders_have_in_common_is_carried_from_round_to_round() -> None:
    """A round that nobody compares keeps it, and a state of an earlier version begins without it."""
    cap, marks = ExposureCap(), held({1: 3})
    alike = torch.full((40, 40), 0.1).fill_diagonal_(0.0)

    def after(state: State, cosines: torch.Tensor | None) -> State:
        return cap(model(), step(), state, given(replace(marks, alike=cosines)))[1]

    once = after(cap.init(model()), alike)
    twice = after(after(once, None), alike)
    assert once["pairs"].tolist() == [6.0] + [0.0] * (N - 1)
    assert twice["pairs"].tolist() == pytest.approx([6 * FADES + 6] + [0.0] * (N - 1))
    assert float(twice["alike"][0]) == pytest.approx(0.6 * FADES + 0.6)
    earlier = {name: value for name, value in once.items() if name not in ("alike", "pairs")}
    assert after(earlier, None)["pairs"].tolist() == [0.0] * N
    assert after(earlier, alike)["pairs"].tolist() == [6.0] + [0.0] * (N - 1)
