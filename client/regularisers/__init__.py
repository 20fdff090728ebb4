"""Terms that a device adds to its loss, for ONE user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from client.regularisers.anchor import Anchor
from client.regularisers.base import CHANNELS, Own, Regulariser
from client.regularisers.lookahead import Lookahead
from client.regularisers.uniformity import Uniformity
from common.config import ModelConfig
from common.errors import ConfigError
from common.models import template
from common.registry import Component, Registry

_OWN: Mapping[str, type[Regulariser]] = {
    "anchor": Anchor,
    "lookahead": Lookahead,
    "uniformity": Uniformity,
}
REGULARISERS: Registry[Regulariser] = Registry("regulariser", "regularisers", _OWN, Regulariser)


def build_regularisers(
    components: Sequence[Component], model: ModelConfig | None = None
) -> tuple[Regulariser, ...]:
    """The terms that a config names.

    Raises UnknownName, and ConfigError for parameters that cannot be and terms that ``model`` cannot have.
    """
    terms = tuple(REGULARISERS.build(c.name, c.params) for c in components)
    for one, term in zip(components, terms, strict=True):
        if model is not None and term.ahead and hasattr(template(model), "cloze"):
            raise ConfigError(
                f"client.regularisers: {one.name} asks states for later items, and those of {model.name} "
                "have seen them; valid: a model that reads from the left, such as sasrec"
            )
    return terms


__all__ = ["CHANNELS", "REGULARISERS", "Own", "Regulariser", "build_regularisers"]
