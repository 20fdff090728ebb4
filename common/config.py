"""Every setting of a run: typed, validated, unknown keys refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from common.preparation import Preparation, check_columns, check_encoding
from common.registry import Component as Component
from common.registry import as_component


class Section(BaseModel):
    """A group of settings; immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _one(value: object) -> object:
    """A component; of a list with one, that one."""
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return as_component(value)


def _listed(value: object) -> object:
    """A list, also where one thing stands alone; ``none`` is an empty one."""
    if value is None or value == "none":
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _word_or_list(value: object) -> object:
    """A word such as ``auto`` also as a list of it, and a number as a list of one."""
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def _auto_or_list(value: object) -> object:
    return "auto" if value in ("auto", ["auto"]) else _listed(value)


Named = Annotated[Component, BeforeValidator(_one)]
Several = Annotated[tuple[Named, ...], BeforeValidator(_listed)]
Numbers = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_listed)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]

# Nodes take these settings from a server that they need not trust, and tools from files: what no study comes
# near, or no machine holds, is refused before anything is built.
MAX_DIM, MAX_LEN, MAX_BLOCKS, MAX_HEADS = 2048, 2048, 64, 32
MAX_PARAMETERS = 2**26
"""Of an encoder: 256 MiB of float32, a thousand times the default."""
MAX_ROUNDS = 10**7
MAX_DEVICES = 2**20
"""In one round: the server holds an update of each."""
MAX_STEPS = 500
"""Of one device in one round. More is minutes of its time, and another protocol."""
MAX_SLICE = 2**20
"""A device scores each of these items at every position: 4 MiB a position."""
MAX_SLICES = 256
"""Of one round: a device sends the number of its own in a byte."""
MAX_NEGATIVES = 2**16
"""A device gathers a row for each: 16 MiB at the default dim. So with decoys."""
MAX_BOOKS, MAX_CODE_ROWS = 16, 65521
"""Of a table of code rows, all of which a device sends: a million rows in the extreme."""
MAX_REGULARISERS = 16
"""There are fewer; each may run the model again."""


class OfComponent(Section):
    """A section that is a component with settings around it: its name, ``params``, what all of the kind have.

    ``{name: sign_flip, scale: 3}``: what is no setting of the section is a parameter of the component, unless
    it looks like a misspelt setting. An instance brings its parameters.
    """

    closed: ClassVar[tuple[str, ...]] = ()
    """Components that have no parameters of their own."""
    shared: ClassVar[tuple[str, ...]] = ()
    """Settings of the section that instances are built with."""

    @model_validator(mode="before")
    @classmethod
    def _grammar(cls, value: object) -> object:
        if isinstance(value, list | tuple) and len(value) == 1:
            value = value[0]
        if isinstance(value, BaseModel) and not isinstance(value, Component):
            return value
        given = value.model_dump() if isinstance(value, Component) else as_component(value)
        if not isinstance(given, Mapping):
            return given
        if isinstance(name := given.get("name"), list | tuple) and len(name) == 1:
            given = value = {**given, "name": name[0]}
        settings = cls.model_fields if given is value else ("name", *cls.shared)
        own = {key: one for key, one in given.items() if key not in settings}
        if given is value:
            own = {key: one for key, one in own.items() if not get_close_matches(key, settings, 1, 0.8)}
        params = given.get("params", {}) if given is value else {}
        if not own or not isinstance(params, Mapping) or given.get("name", "none") in cls.closed:
            return given
        return {**{k: v for k, v in given.items() if k not in own}, "params": {**params, **own}}


class DataConfig(Section):
    """Which log; ``path`` reads any file instead of a known name."""

    name: str = Field("ml-100k", description="a log that is known by name, see `fedsieve list datasets`")
    path: str = Field("", description="a file to read instead")
    max_devices: Count = Field(0, description="keep only the first devices; 0 keeps all")
    max_length: Count = Field(0, description="keep only the last interactions of each device; 0 keeps all")
    public: Positive = Field(64, description="histories of an emulation that its trusted node holds too")
    columns: dict[str, Annotated[int, Field(strict=True)] | str] = Field(
        {}, description="names of the columns user, item, time, rating, event; or positions, without a header"
    )
    order: Literal["time", "file"] = Field(
        "time", description="of a history: by the time column, or `file`: as the file has it, without times"
    )
    encoding: str = Field("auto", description="of a text file; auto: UTF-8, or UTF-16 with a mark")
    events: tuple[str, ...] = Field((), description="kinds of events that are kept; empty keeps all")
    min_rating: float = Field(0.0, description="drop ratings below it; 0 keeps all")
    duplicates: Literal["drop", "keep"] = Field(
        "drop", description="interactions of one user and item at one time, after the first"
    )
    repeats: Literal["keep", "drop"] = Field(
        "keep", description="interactions with an item that the user had before"
    )
    min_user: Count = Field(
        0, description="drop users with fewer interactions, with min_item until none falls"
    )
    min_item: Count = Field(
        0, description="drop items with fewer interactions, with min_user until none falls"
    )

    @field_validator("order")
    @classmethod
    def _of_columns(cls, order: Literal["time", "file"], others: ValidationInfo) -> str:
        check_columns(others.data.get("columns", {}), order)
        return order

    @field_validator("columns")
    @classmethod
    def _columns(cls, columns: dict[str, int | str]) -> dict[str, int | str]:
        check_columns(columns)
        return columns

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        check_encoding(encoding)
        return encoding

    @property
    def preparation(self) -> Preparation:
        """How the log is read."""
        return Preparation(
            columns=tuple(sorted(self.columns.items())),
            order=self.order,
            encoding=self.encoding,
            events=self.events,
            min_rating=self.min_rating,
            duplicates=self.duplicates,
            repeats=self.repeats,
            min_user=self.min_user,
            min_item=self.min_item,
        )


def prime_from(number: int) -> int:
    """The least prime from ``number`` on."""
    while number < 2 or any(number % factor == 0 for factor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


def most_parameters(name: str, dim: int, max_len: int, blocks: int) -> int:
    """No model of this project has more: (B + 1)·L·d + 20·B·d·(d + 1) + 8·d.

    The narrow ones: L·d + 7·B·d·(d + 1) + 2·d.
    """
    if name in ("sasrec", "gru4rec"):
        return max_len * dim + 7 * blocks * dim * (dim + 1) + 2 * dim
    return (blocks + 1) * max_len * dim + 20 * blocks * dim * (dim + 1) + 8 * dim


class ModelConfig(OfComponent):
    """The sequence model; ``dim`` is also the width of the item table.

    ``blocks`` and ``heads`` are for models that have them, ``params`` for what only this one has.
    Nodes and tools read it from strangers, so that what it would take is bounded before anything is built.
    """

    closed = ("none", "sasrec", "gru4rec", "lrurec")
    shared = ("dim", "max_len", "blocks", "heads")

    name: str = Field("sasrec", description="which model, see `fedsieve list models`")
    dim: Annotated[int, Field(ge=1, le=MAX_DIM)] = Field(64, description="width of states and of item rows")
    max_len: Annotated[int, Field(ge=1, le=MAX_LEN)] = Field(
        50, description="the last interactions that the model reads"
    )
    blocks: Annotated[int, Field(ge=1, le=MAX_BLOCKS)] = Field(
        2, description="layers, of models that have them"
    )
    heads: Annotated[int, Field(ge=1, le=MAX_HEADS)] = Field(
        1, description="attention heads, of models that have them; they divide `dim`"
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.3, description="share of values that training drops"
    )
    code_books: Annotated[int, Field(ge=0, le=MAX_BOOKS)] = Field(
        0, description="rows that an item's embedding is the sum of; 0: each item has a row of its own"
    )
    code_rows: Annotated[int, Field(ge=2, le=MAX_CODE_ROWS)] = Field(
        1021, description="rows of each book, a prime: those that items share with `code_books`"
    )
    params: dict[str, Any] = Field({}, description="what a model takes beyond these settings")

    @field_validator("code_books")
    @classmethod
    def _shared(cls, books: int) -> int:
        if books == 1:
            raise ValueError(
                f"expected 0, or 2 to {MAX_BOOKS} books: items with one row share all or nothing"
            )
        return books

    @field_validator("code_rows")
    @classmethod
    def _prime(cls, rows: int, others: ValidationInfo) -> int:
        if rows < (books := others.data.get("code_books", 0)):
            raise ValueError(f"expected at least as many rows as books, {books}")
        if prime_from(rows) != rows:
            below = next(number for number in range(rows, 1, -1) if prime_from(number) == number)
            raise ValueError(f"expected a prime, such as {below} or {prime_from(rows)}")
        return rows

    @field_validator("blocks")
    @classmethod
    def _of_a_size_that_fits(cls, blocks: int, others: ValidationInfo) -> int:
        name, dim, length = (others.data.get(key, 1) for key in ("name", "dim", "max_len"))
        if (size := most_parameters(name, dim, length, blocks)) > MAX_PARAMETERS:
            raise ValueError(
                f"expected at most {MAX_PARAMETERS:,} parameters in all; dim {dim}, max_len {length} and "
                f"{blocks} blocks may have {size:,}"
            )
        return blocks


def _without_parameters(value: object) -> object:
    """A loss may be written ``{name: gbce}``, as any component; none has parameters."""
    return value["name"] if isinstance(value, Mapping) and set(value) == {"name"} else value


def _slice_size(value: object) -> object:
    """One sentence for both that are valid; of a union pydantic would tell of each by itself."""
    if value == "auto" or (type(value) is int and 1 <= value <= MAX_SLICE):
        return value
    raise ValueError(f"expected auto or a whole number from 1 to {MAX_SLICE:,}")


class TrainConfig(Section):
    """The protocol of a round (docs/method.md): who trains what."""

    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)] = Field(600, description="server steps of the run")
    devices_per_round: Annotated[int, Field(ge=1, le=MAX_DEVICES)] = Field(
        256, description="devices that are asked in a round"
    )
    negatives: Literal["full", "slice", "device"] = Field(
        "slice",
        description="what a device scores beside its next items: the whole catalogue, the round's slice, or "
        "items that it draws",
    )
    slice_size: Annotated[int | Literal["auto"], BeforeValidator(_slice_size)] = Field(
        512,
        description="items of a slice, or auto: as many as keep `busy_share` of the devices busy",
    )
    busy_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.6, description="with `slice_size: auto`: devices of a round that find a next item in the slice"
    )
    slices: Annotated[int, Field(ge=1, le=MAX_SLICES)] = Field(
        1,
        description="disjoint slices that a round draws; a device trains the one with most of its next items",
    )
    slice_power: Annotated[float, Field(ge=0, le=2)] = Field(
        0.5, description="items enter a slice by (popularity + 5)^power; 0 is uniform"
    )
    slice_correction: bool = Field(True, description="subtract log q from the logits of a drawn slice")
    device_negatives: Annotated[int, Field(ge=1, le=MAX_NEGATIVES)] = Field(
        64, description="own negatives with `negatives: device`"
    )
    local_steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] = Field(
        1, description="gradient steps on a device"
    )
    local_lr: Annotated[float, Field(gt=0)] = Field(1.0, description="rate of a local step")
    precision: Literal["float32", "tf32", "bfloat16"] = Field(
        "float32", description="of the products of local training; `tf32` needs an NVIDIA card"
    )
    loss: Annotated[
        Literal["softmax", "sampled_softmax", "bce", "gbce"], BeforeValidator(_without_parameters)
    ] = Field("softmax", description="of the next item among the candidates")
    calibration: Share = Field(0.75, description="t of `loss: gbce`: 0 is bce, 1 undoes the sampling")
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="share of each label that all items of the slice have alike; of the softmax losses"
    )
    targets: Literal["all", "last"] = Field(
        "all", description="next items of a window that the loss is at: each, or the last one alone"
    )
    window: Literal["last", "random"] = Field(
        "random", description="which part of a history longer than `model.max_len` a device trains on"
    )

    @field_validator("label_smoothing")
    @classmethod
    def _of_softmax(cls, smoothing: float, others: ValidationInfo) -> float:
        loss = others.data.get("loss", "softmax")
        if smoothing and "softmax" not in loss:
            raise ValueError(f"expected 0 beside train.loss: {loss}; softmax and sampled_softmax have it")
        return smoothing

    @field_validator("slices")
    @classmethod
    def _only_of_slices(cls, slices: int, others: ValidationInfo) -> int:
        negatives = others.data.get("negatives", "slice")
        if slices > 1 and negatives != "slice":
            raise ValueError(f"expected 1 beside train.negatives: {negatives}, which draws no slice")
        return slices


class StrategyConfig(Section):
    """The server's recipe: admission, aggregation, constraints, server step."""

    aggregator: Named = Field(
        Component(name="sieve"), description="the rule, see `fedsieve list aggregators`"
    )
    pre: Several = Field((), description="what mixes updates before the rule, `fedsieve list pre`")
    byzantine: Annotated[float, Field(ge=0)] = Field(
        0.2, description="attackers that rules which need it are told: a share below 1, or a number"
    )
    constraints: Annotated[tuple[Named, ...] | Literal["auto"], BeforeValidator(_auto_or_list)] = Field(
        "auto", description="limits on the server step, in their order; auto: those of the rule's own recipe"
    )
    optimizer: Named = Field(
        Component(name="adam"), description="the server step, see `fedsieve list optimizers`"
    )
    lr: Annotated[float, Field(gt=0)] = Field(1.2e-2, description="rate of the server step")
    warmup_rounds: Count = Field(10, description="rounds over which the rate rises from 0")
    decay_from: Share = Field(0.4, description="share of the rounds after which the rate falls to 0")
    deadline_s: Annotated[float, Field(gt=0)] = Field(
        60.0, description="seconds that a round waits for replies"
    )
    min_replies: Positive = Field(1, description="admitted updates below which a round is skipped")
    oversample: Annotated[float, Field(ge=1)] = Field(
        1.0, description="devices asked, over those wanted: some are expected not to answer"
    )
    secret: str = Field(
        "",
        exclude=True,  # in no file, result or log
        repr=False,
        description="makes the server's draws repeatable, for emulations; empty: a fresh key for each run",
    )
    quota: Count = Field(0, description="devices one node may stand for; 0: a tenth of all, or so")
    newcomer_rounds: Count = Field(
        20, description="rounds over which a node that comes late gains its full share; 0: at once"
    )
    close_at: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of the replies at which a round ends before its deadline"
    )
    max_history: Positive = Field(1000, description="longest history that a device may claim")
    trusted_nodes: Annotated[tuple[Count, ...], BeforeValidator(_listed)] = Field(
        (), description="nodes of the operator: the root of `fltrust`"
    )
    wait_nodes: Positive = Field(1, description="nodes that must be there before the first round")
    wait_s: Annotated[float, Field(ge=0)] = Field(60.0, description="seconds to wait for them")

    @field_validator("byzantine")
    @classmethod
    def _share_or_number(cls, byzantine: float) -> float:
        if byzantine >= 1 and byzantine % 1:
            raise ValueError("expected a share below 1 or a whole number of devices")
        return byzantine


class ClientConfig(Section):
    """What honest devices add to their loss and take from their update."""

    regularisers: Annotated[Several, Field(max_length=MAX_REGULARISERS)] = Field(
        (), description="terms added to the loss, see `fedsieve list regularisers`"
    )
    clip: Annotated[float, Field(ge=0)] = Field(0.0, description="L2 bound of an update; 0 is off")
    noise: Annotated[float, Field(ge=0)] = Field(0.0, description="Gaussian σ as a multiple of clip")
    decoys: Annotated[int, Field(ge=0, le=MAX_NEGATIVES)] = Field(
        0, description="rows of no next item that a device moves like those of one"
    )
    quantise: Literal["none", "sign", "top_k"] = Field("none", description="how rows are coarsened")
    top_k: Annotated[int, Field(ge=1, le=MAX_DIM)] = Field(
        8, description="coordinates of each row that `quantise: top_k` keeps"
    )

    @field_validator("noise")
    @classmethod
    def _with_a_bound(cls, noise: float, others: ValidationInfo) -> float:
        if noise > 0 and not others.data.get("clip", 1.0):
            raise ValueError("expected client.clip above 0 beside it: noise is a multiple of clip")
        return noise


class AttackConfig(OfComponent):
    """What malicious devices do. Read by the emulation and the nodes, never by the strategy."""

    closed = ("none",)

    name: str = Field("none", description="which attack, see `fedsieve list attacks`")
    share: Share = Field(0.2, description="share of all devices that are malicious")
    targets: Annotated[
        tuple[Positive, ...] | Literal["cold", "medium", "random"], BeforeValidator(_word_or_list)
    ] = Field("cold", description="items to promote: numbers, or how to pick them")
    target_count: Positive = Field(1, description="how many items `cold`, `medium` or `random` picks")
    start_round: Positive = Field(1, description="first round of the attack")
    period: Positive = Field(1, description="from start_round on, attack in `active` rounds of `period`")
    active: Positive = Field(1, description="rounds of each `period` in which the attack is on")
    rest: Literal["honest", "parity"] = Field(
        "honest",
        description="what malicious devices do in the other rounds; `parity`: as honest ones with the target",
    )
    knowledge: Literal["own", "full"] = Field(
        "own", description="`full`: the honest updates of the round are seen; in one process only"
    )
    params: dict[str, Any] = Field({}, description="of the attack itself; also written beside its name")

    @field_validator("active")
    @classmethod
    def _within_period(cls, active: int, others: ValidationInfo) -> int:
        period = others.data.get("period", active)
        if active > period:
            raise ValueError(f"expected at most attack.period = {period}")
        return active


class EvalConfig(Section):
    """When the devices rank the full catalogue; ``every: 0`` only at the end."""

    every: Count = Field(50, description="rounds between two evaluations on validation; 0: at the end alone")
    sample: Count = Field(
        0,
        description="devices that rank during the run, the same each time; all do at its end; 0: all always",
    )
    targets: Numbers = Field((), description="items whose exposure is measured")
    group: Count = Field(
        0, description="item: exposure is measured within the users who hold it as well; 0: off"
    )


class WireConfig(Section):
    """How updates are packed."""

    dtype: Literal["float16", "float32"] = Field("float16", description="of the numbers that travel")
    reply_mb: Annotated[float, Field(gt=0, le=1024)] = Field(
        256.0, description="MiB of a reply; the devices of a node that would send more are asked in parts"
    )


class RunConfig(Section):
    """All settings of one run."""

    seed: Count = Field(0, description="of the model's start, of the devices' draws, and of who is malicious")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; auto takes a GPU where there is one")
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    strategy: StrategyConfig = StrategyConfig()
    client: ClientConfig = ClientConfig()
    attack: AttackConfig = AttackConfig()
    eval: EvalConfig = EvalConfig()
    wire: WireConfig = WireConfig()
    checkpoint_every: Count = Field(50, description="rounds between two checkpoints; 0: at the end alone")

    @field_validator("device")
    @classmethod
    def _a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", device):
            raise ValueError("expected auto, cpu, cuda or cuda:N")
        return device

    def scenario(self) -> dict[str, Any]:
        """Who attacks, for the summary of a run: an emulation knows, and a server only repeats it."""
        attack = self.attack
        return {
            "attack": attack.name,
            "malicious_share": attack.share if attack.name != "none" else 0.0,
            "knowledge": attack.knowledge,
        }

    @property
    def omniscient(self) -> bool:
        """Whether attackers see the honest updates of a round, which is possible in one process alone."""
        return self.attack.knowledge == "full"
