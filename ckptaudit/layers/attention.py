"""MultiheadAttention, its projections of query, key and value packed into one matrix, or apart."""

from __future__ import annotations

from ckptaudit.layers.form import Form
from ckptaudit.layers.guess import Confidence, Guess
from ckptaudit.layers.parts import Parts, joined
from ckptaudit.layers.wrappers import Sizes

_APART = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
_KEPT = ("bias_k", "bias_v")
_OWN = frozenset({"in_proj_weight", *_APART, "in_proj_bias", *_KEPT})


def attention(path: str, form: Form, parts: Parts) -> Guess | None:
    """A guess for the module at `path`, which owns projections of an attention."""
    own = form.sizes
    out = parts.linear(joined(path, "out_proj"))
    if out is None or parts.names(path) != {"out_proj"} or not own.keys() <= _OWN:
        return None
    width, _, bias = out
    widths = _packed(own, width) if "in_proj_weight" in own else _apart(own, width)
    kept = [own.get(name) for name in _KEPT]
    if widths is None or out[1] != width or ("in_proj_bias" in own) != bias:
        return None
    if own.get("in_proj_bias", (3 * width,)) != (3 * width,) or (any(kept) and kept != [(1, 1, width)] * 2):
        return None
    arguments: dict[str, object] = {"embed_dim": width, "num_heads": 1, "bias": bias, **widths}
    if any(kept):
        arguments["add_bias_kv"] = True
    # A packed projection has been copied into many a class; the rest only torch itself has.
    sure: Confidence = "certain" if any(kept) or (widths and bias) else "likely"
    unknown = ("num_heads", "add_zero_attn", "batch_first")
    return Guess(path, "MultiheadAttention", sure, (), arguments, unknown, form.wrappers)


def _packed(own: Sizes, width: int) -> dict[str, int] | None:
    fits = own["in_proj_weight"] == (3 * width, width) and own.keys().isdisjoint(_APART)
    return {} if fits else None


def _apart(own: Sizes, width: int) -> dict[str, int] | None:
    shapes = [own.get(name) for name in _APART]
    sizes = [shape[1] if shape and len(shape) == 2 and shape[0] == width else 0 for shape in shapes]
    query, key, value = sizes
    if query != width or not key or not value or (key, value) == (width, width):
        return None
    return {"kdim": key, "vdim": value}
