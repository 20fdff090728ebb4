"""The constants of the defence, each by an attack or a situation that another value would change."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from common.probes import made_up
from common.updates import DeviceUpdates
from common.wire import UpdateSpec, encode_updates
from server.aggregators import Aggregate, Round, State
from server.aggregators.reputation import Reputation
from server.aggregators.sieve import Sieve
from server.constraints import panel
from server.constraints.exposure import ExposureCap, Holders
from server.constraints.panel import PULLED, PUSHED, TRAINED
from server.constraints.popularity import ranks
from server.round.admission import Reply, admit
from server.round.drawing import draw_weights
from server.round.popularity import estimate, marks, observe

N, BAD, WIDTH = 40, 8, 400


def cohort(rows: Tensor) -> DeviceUpdates:
    """Devices 0, 1, … with these rows [n, K, d] of items 1..K."""
    n, k, _ = rows.shape
    return DeviceUpdates(
        encoder=torch.ones(n, 3),
        rows=rows,
        items=torch.arange(1, k + 1, dtype=torch.int32),
        history=torch.full((n,), 10, dtype=torch.int32),
        device=torch.arange(n),
    )


def covering(*rows_moved: int) -> set[int]:
    """The devices that admission lets in of those that move so many of twenty rows."""
    rows = torch.ones(len(rows_moved), 20, 4)
    for device, moved in enumerate(rows_moved):
        rows[device, moved:] = 0
    updates = cohort(rows)
    spec = UpdateSpec("run", 1, 3, 4, updates.items, 20, torch.tensor([], dtype=torch.int64))
    reply = Reply(1, updates.device, encode_updates(updates, "run", 1, "float32"))
    return {device for _, device in admit([reply], spec, 100).identity}


def test_an_update_of_two_fifths_of_the_rows_aims_at_them_and_is_refused() -> None:
    """Who leaves out twelve of twenty rows spends the norm that the clip allows on the others."""
    assert covering(20, 20, 20, 20, 20, 8, 9) == {0, 1, 2, 3, 4}


def test_a_device_that_finds_little_to_move_is_let_in() -> None:
    assert 5 in covering(20, 20, 20, 20, 20, 11)


def people(number: int, groups: int = 0) -> Tensor:
    """Encoders of N devices that learn apart or, with ``groups``, in as many groups of a like mind."""
    g = torch.Generator().manual_seed(number)
    own = F.normalize(torch.randn(N, WIDTH, generator=g), dim=1)
    if groups:
        shared = F.normalize(torch.randn(groups, WIDTH, generator=g), dim=1)
        own[BAD:] = 0.5 * own[BAD:] + 0.5 * shared[torch.arange(N - BAD) % groups]
    return own


def rated(encoders: Tensor, state: State, number: int) -> tuple[Tensor, State]:
    identity = tuple((1, device) for device in range(N))
    round_, past = Round(0, identity, torch.Generator(), number=number), Sieve().past
    return past(past.cosines(encoders, round_), state, round_)


def test_one_round_of_copies_puts_nobody_into_quarantine() -> None:
    """Two users of one household send the same once: evidence, and no verdict."""
    encoders = people(1)
    encoders[:BAD] = encoders[0]
    weights, state = rated(encoders, {}, 1)
    assert 0.03 < float(weights[:BAD].min()) <= float(weights[:BAD].max()) < 0.1, "a voice, of little weight"
    for number in range(2, 8):
        weights, state = rated(people(number), state, number)
    assert weights[:BAD].tolist() == [1.0] * BAD, "one bad round is forgotten after six"


def test_copies_are_out_in_the_second_round() -> None:
    state: State = {}
    for number in (1, 2):
        encoders = people(number)
        encoders[:BAD] = encoders[0]
        weights, state = rated(encoders, state, number)
    assert weights[:BAD].tolist() == [0.0] * BAD


def test_sleepers_that_were_less_alike_than_people_are_out_in_four_rounds() -> None:
    """Attackers who send noise while people learn in groups save up credit: four rounds of it at most."""
    state: State = {}
    for number in range(1, 60):
        _, state = rated(people(number, groups=3), state, number)
    for number in range(60, 64):
        encoders = people(number)
        encoders[:BAD] = encoders[0]
        weights, state = rated(encoders, state, number)
    assert weights[:BAD].tolist() == [0.0] * BAD


def test_a_handful_of_devices_does_not_say_who_is_usual() -> None:
    """Seven devices, two of one household: without a usual alikeness there is no evidence."""
    for n, known in ((7, False), (8, True)):
        identity = tuple((1, device) for device in range(n))
        round_ = Round(0, identity, torch.Generator(), number=1)
        assert (Reputation().cosines(people(1)[:n], round_) is not None) is known


def push_and_pull(push: float, pulls: Tensor) -> Tensor:
    """Marks int8 [12, 30] of devices with interactions of sizes ``pulls`` [10] and weaker negatives."""
    rows = torch.zeros(12, 30, 2)
    rows[:, :10, 0] = pulls
    rows[:, 10:, 0] = -push
    return marks(cohort(rows))


def test_a_negative_of_two_fifths_of_an_interaction_is_no_holder() -> None:
    """In a small slice a device pushes its negatives hard: whoever has them so does not hold them."""
    found = push_and_pull(0.42, torch.ones(10))
    assert bool((found[:, :10] == PULLED).all())
    assert bool((found[:, 10:] == TRAINED).all())
    none = torch.zeros(30, dtype=torch.float64)
    pulls, _ = observe(none, none, torch.arange(1, 31), found)
    assert float(pulls[10:].sum()) == 0


def test_an_interaction_of_two_thirds_of_the_usual_size_is_a_pull() -> None:
    found = push_and_pull(0.05, torch.linspace(0.65, 1.0, 10))
    assert bool((found[:, :10] == PULLED).all())
    assert not bool((found == PUSHED).any())


def holding(*groups: tuple[int, int]) -> Tensor:
    """Ranks of items which so many devices pulled of so many that trained them, by the panel."""
    state = panel.no_holders(len(groups))
    devices = range(max(trained for _, trained in groups))
    seen = [[PULLED if u < p else TRAINED if u < t else 0 for p, t in groups] for u in devices]
    marked = torch.tensor(seen, dtype=torch.int8)
    items = torch.arange(1, len(groups) + 1, dtype=torch.int32)
    return ranks(
        panel.holder_shares(
            panel.with_round(state, panel.RoundMarks(1, [(1, u) for u in devices], items, marked))
        )
    )


def test_three_devices_do_not_make_an_item_look_widely_held() -> None:
    """A cold item that the attacker's devices alone ever trained, beside one that half of forty hold."""
    cold, usual, rare = holding((3, 3), (20, 40), (2, 40)).tolist()
    assert rare < cold < usual


def test_an_item_that_all_of_six_hold_passes_one_that_half_of_forty_hold() -> None:
    new, usual = holding((6, 6), (20, 40)).tolist()
    assert new > usual


def test_a_few_pulls_of_a_new_item_do_not_look_like_a_favourite() -> None:
    """Ten pulls in ten appearances, beside a hundred in two hundred: unknown is not popular."""
    pulls, seen = torch.tensor([10.0, 100.0, 60.0]), torch.tensor([10.0, 200.0, 60.0])
    new, usual, favourite = estimate(pulls, seen, 256).tolist()
    assert new < usual < favourite
    assert new > 0.3 * 256, "thirty appearances are enough to be heard of"


def test_no_claim_keeps_an_item_out_of_the_slices() -> None:
    """Of 256 devices that all claim one item it comes seven times as often as one that nobody holds."""
    weights = draw_weights(torch.tensor([0.0, 256.0, -1e9]))
    assert 6 < float(weights[1] / weights[0]) < 8
    assert float(weights[2]) == float(weights[0])


def combined(updates: DeviceUpdates, **parameters: float) -> Aggregate:
    """What the sieve makes of one round in which all are of one mind, which is no offence here."""
    identity = tuple((1, device) for device in range(len(updates)))
    rule = Sieve(reputation=0.0, **parameters)

    def interaction(directions: Tensor) -> Tensor:
        return torch.ones(len(directions))

    setting = Round(0, identity, torch.Generator(), number=1, interaction=interaction)
    return rule(updates, {}, setting)[0]


def alone_and_apart(*strong: float) -> Tensor:
    """Rows [20, 8, 4]: twenty devices with an interaction on two rows each, and of the first one these."""
    rows = torch.zeros(20, 8, 4)
    for device in range(20):
        rows[device, device % 8, 0] = rows[device, (device + 3) % 8, 1] = 1.0
    rows[0] = 0
    for row, length in enumerate(strong):
        rows[0, row, 0] = length
    return rows


def test_a_fifth_of_an_interaction_beyond_the_bound_is_spared() -> None:
    """Rows that are next item and input at once move further than a next item alone."""
    found = combined(cohort(alone_and_apart(1.2, 1.0)))
    assert float(found.rows[0, 0]) * 20 == pytest.approx(1.2 + 2, rel=1e-4)  # devices 8 and 16 pull it too


def test_two_interactions_on_one_row_are_one_and_lose_weight() -> None:
    """A history of two whose next items are both called the target."""
    found = combined(cohort(alone_and_apart(2.0)))
    assert found.weights is not None
    assert float(found.weights[0] / found.weights[1]) == pytest.approx((1.25 / 2 / 0.8) ** 6, rel=1e-3)


def test_who_has_one_loud_row_among_others_keeps_its_weight() -> None:
    found = combined(cohort(alone_and_apart(1.8, 1.0, 1.0, 1.0)))
    assert found.weights is not None
    assert float(found.weights[0] / found.weights[1]) == pytest.approx(1.0)


def test_an_encoder_may_be_twice_as_long_as_usual_for_its_rows() -> None:
    updates = cohort(alone_and_apart(1.0, 1.0))
    for loud, counted in ((1.8, 1.8), (10.0, 2.0)):
        updates.encoder[0] = loud
        assert float(combined(updates).encoder[0]) * 20 == pytest.approx(19 + counted, rel=1e-4)


def test_some_made_up_users_keep_to_one_kind_and_some_do_not() -> None:
    """Users of one strength of taste show a model from one side, and an attacker pushes on the others."""
    table = torch.cat([torch.zeros(1, 2), torch.eye(2).repeat_interleave(10, 0)])  # two kinds of items
    popularity, lengths = torch.ones(20, dtype=torch.float64), torch.full((4000,), 6)
    gen = torch.Generator().manual_seed(0)
    drawn = made_up(popularity, lengths, gen, table, ExposureCap.recipe.taste) > 10
    pure = float((drawn.all(1) | ~drawn.any(1)).double().mean())
    even = float((drawn.sum(1) == 3).double().mean())
    assert pure > 0.8  # one strength that makes so many pure leaves one in ten thousand even
    assert even > 0.01


@pytest.mark.parametrize(("much", "share"), [(3, 0.15), (5, 0.35)])
def test_three_items_in_thirty_may_stand_out_and_set_no_limit_for_the_others(much: int, share: float) -> None:
    """A promoted item may get what the .9 quantile of its like gets: at .95 cheating brings more."""
    holders = torch.full((33,), 0.2, dtype=torch.float64)
    exposure = torch.full((33,), 0.02, dtype=torch.float64)
    exposure[:much] = 0.4
    cap = ExposureCap()
    limit = Holders(holders, holders, holders / 10, torch.zeros_like(holders)).entitled(
        exposure, cap.recipe.near, cap.quantile
    )
    assert (float(limit[20]) < share) is (much == 3)
