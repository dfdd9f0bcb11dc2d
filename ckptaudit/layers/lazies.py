"""Lazy layers: no input has passed through them, so their tensors have names and no shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ckptaudit.layers.guess import Arguments, Confidence
from ckptaudit.layers.words import words

_KINDS = ("LazyConv", "LazyConvTranspose", "LazyBatchNorm", "LazyInstanceNorm")
_SPOKEN: Mapping[str, frozenset[str]] = {
    "LazyConv": frozenset({"conv"}),
    "LazyConvTranspose": frozenset({"up", "deconv", "transpose", "conv_transpose", "upsample"}),
    "LazyBatchNorm": frozenset({"bn", "norm", "batchnorm", "batch_norm"}),
    "LazyInstanceNorm": frozenset({"instancenorm", "instance_norm"}),
}


class Lazy(NamedTuple):
    """What a lazy layer seems to be."""

    layer: str
    confidence: Confidence
    alternatives: tuple[str, ...]
    arguments: Arguments
    unknown: tuple[str, ...]


def lazy(names: frozenset[str], name: str, version: int | None) -> Lazy | None:
    """The lazy layer that owns tensors of these names; `name` is the module's own."""
    candidates = _candidates(names, version)
    if not candidates:
        return None
    spoken = words(name).all
    ranked = sorted(candidates, key=lambda layer: not _said(layer, spoken))
    layer = ranked[0]
    arguments, unknown = _made(layer, names)
    clear: Confidence = "likely" if len(ranked) == 1 else "guess"
    return Lazy(layer, clear, tuple(ranked[1:]), arguments, unknown)


def _candidates(names: frozenset[str], version: int | None) -> list[str]:
    norms = [f"{kind}{dims}d" for kind in _KINDS[2:] for dims in (2, 1, 3)]
    if {"running_mean", "running_var", "num_batches_tracked"} <= names:
        return norms
    if names not in (frozenset({"weight"}), frozenset({"weight", "bias"})):
        return []
    # Since PyTorch 0.4.1 the state of norms has version 2, that of all other layers 1.
    plain = ["LazyLinear", *(f"{kind}{dims}d" for kind in _KINDS[:2] for dims in (2, 1, 3))]
    return [*(plain if version != 2 else ()), *(norms if version != 1 else ())]


def _said(layer: str, spoken: frozenset[str]) -> bool:
    return bool(_SPOKEN.get(layer.rstrip("123d"), frozenset()) & spoken)


def _made(layer: str, names: frozenset[str]) -> tuple[Arguments, tuple[str, ...]]:
    """Arguments, with stand-ins for those that torch wants and that nothing shows."""
    if layer == "LazyLinear":
        return {"out_features": 1, "bias": "bias" in names}, ("out_features",)
    if layer.startswith("LazyConv"):
        unknown = ("out_channels", "kernel_size", "groups", "stride", "padding", "dilation")
        return {"out_channels": 1, "kernel_size": 1, "bias": "bias" in names}, unknown
    tracks = "running_mean" in names
    arguments: dict[str, object] = {"affine": "weight" in names, "track_running_stats": tracks}
    if "weight" in names and "bias" not in names:
        arguments["bias"] = False
    return arguments, ("eps", "momentum")
