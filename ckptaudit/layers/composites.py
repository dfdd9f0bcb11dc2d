"""The layers that are made of other layers, which own the tensors: known by what their parts are called.

All parts have to be there, in sizes that go together, and nothing besides.
"""

from __future__ import annotations

from collections.abc import Callable

from ckptaudit.layers import projections, transformers
from ckptaudit.layers.attention import attention
from ckptaudit.layers.guess import Guess
from ckptaudit.layers.parts import Parts, joined

# By the name of a part that each of them has, in an order in which parts come before the whole.
COMPOSITES: tuple[tuple[str, Callable[[str, Parts], Guess | None]], ...] = (
    ("self_attn", transformers.layer),
    ("layers", transformers.stack),
    ("encoder", transformers.both),
    ("tail", projections.adaptive),
    ("linear", projections.linear_loss),
)


def compose(parts: Parts) -> dict[str, Guess]:
    """The guesses made so far, and with them one for each module that is known by its parts."""
    found = dict(parts.guesses)
    whole = Parts(parts.forms, parts.places, found)
    for path, form in parts.forms.items():
        if form.attends and (guess := attention(path, form, whole)):
            found[path] = guess
    marked: dict[str, list[str]] = {marker: [] for marker, _ in COMPOSITES}
    for path, place in parts.places.items():
        inside = place.inside
        for marker, paths in marked.items():
            if marker in inside:
                paths.append(path)
    for marker, composed in COMPOSITES:
        for path in marked[marker]:
            if guess := composed(path, whole):
                found[path] = guess
                _settle_norms(guess, found)
    return found


def _settle_norms(whole: Guess, found: dict[str, Guess]) -> None:
    """Without biases the norms of a transformer look like RMSNorm, and are LayerNorm all the same."""
    if whole.layer not in transformers.LAYERS or whole.arguments["bias"]:
        return
    for name in ("norm1", "norm2", "norm3"):
        norm = found.get(joined(whole.path, name))
        if norm is not None and norm.layer is not None and norm.layer != "LayerNorm":
            others = (norm.layer, *(other for other in norm.alternatives if other != "LayerNorm"))
            arguments = {"normalized_shape": whole.arguments["d_model"], "bias": False}
            found[norm.path] = Guess(norm.path, "LayerNorm", whole.confidence, others, arguments, ("eps",))
