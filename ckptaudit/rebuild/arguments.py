"""The arguments of torch.nn's constructors, read off what a module keeps: attributes, tensors, children."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptaudit.model import ModuleMeta, TensorMeta
from ckptaudit.rebuild.known import FUNCTIONS, ROWS, is_needed
from ckptaudit.rebuild.plan import Part

_MISSING: Final = object()
# What a layer computes does not hang on these.
_HARMLESS: Final = ("inplace", "init", "sparse", "scale_grad_by_freq")
_TUPLED: Final = ("Conv", "LazyConv")  # their sizes are tuples, whatever they were given


@dataclass(frozen=True, slots=True)
class Own:
    """One module as the file has it: its tensors by name, and the parts of the modules below it."""

    path: str
    meta: ModuleMeta
    tensors: Mapping[str, TensorMeta]
    parts: Mapping[str, Part]
    partial: bool = False  # the file does not keep all attributes, so that a missing one is not the default
    # Arguments that nothing tells, whatever stands in their place: `loose` are those that change no output.
    open: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()

    @property
    def config(self) -> Mapping[str, object]:
        """Its plain attributes."""
        return self.meta.config or {}

    def child(self, name: str) -> Part | None:
        """The module below it at the dotted path `name`."""
        return self.parts.get(f"{self.path}.{name}" if self.path else name)

    def of_child(self, name: str, argument: str) -> object:
        """The argument that a layer below was made with, torch's default included."""
        part = self.child(name)
        if part is None or part.layer is None:
            return _MISSING
        default = ROWS[part.layer].get(argument, _MISSING)
        return part.arguments.get(argument, _MISSING if is_needed(default) else default)

    def has(self, parameter: str) -> bool:
        """Whether it has the parameter, wrapped or not."""
        return any(parameter + suffix in self.tensors for suffix in ("", "_g", "_orig"))

    def size(self, tensor: str, dimension: int) -> object:
        """One size of a tensor of its own."""
        row = self.tensors.get(tensor)
        return row.shape[dimension] if row and row.shape and len(row.shape) > dimension else _MISSING


class Arguments(NamedTuple):
    """What a layer is made with, what decides and is not told, and the attributes that this accounts for.

    `loose` are the arguments that are not told and change no output.
    """

    values: Mapping[str, object]
    unknown: tuple[str, ...]
    used: frozenset[str]
    loose: tuple[str, ...] = ()


def arguments_of(layer: str, own: Own) -> Arguments:
    """The arguments that differ from torch's defaults, in the order that torch has.

    An open one may have a value that fits the tensors, for the layer to be made at all.
    """
    values: dict[str, object] = {}
    unknown: list[str] = []
    loose = list(own.loose)
    row = ROWS[layer]
    for name, default in row.items():
        value = _argument(layer, own, name)
        if name in own.open:
            unknown.append(name)
            if value is not _MISSING:
                values[name] = value
        elif value is _MISSING:
            if (own.partial and name not in _HARMLESS) or is_needed(default):
                unknown.append(name)
            elif own.partial:
                loose.append(name)
        elif not _is_default(layer, value, default):
            values[name] = value
    used = {name for name in own.config if name in row and (name in values or name not in unknown)}
    return Arguments(values, tuple(unknown), frozenset(used), tuple(loose))


def _is_default(layer: str, value: object, default: object) -> bool:
    if layer.startswith(_TUPLED) and isinstance(value, tuple) and type(default) is int:
        return value == (default,) * len(value)
    return type(value) is type(default) and value == default


def _argument(layer: str, own: Own, name: str) -> object:
    rule = _RULES.get((layer, name)) or (_bias if name == "bias" else None)
    value = rule(own) if rule is not None else own.config.get(name, _MISSING)
    return value


def _bias(own: Own) -> object:
    if type(own.config.get("bias")) is bool:
        return own.config["bias"]
    # Without a weight there is no bias either, whatever was asked for.
    affine = own.config.get("affine", own.config.get("elementwise_affine", True))
    return own.has("bias") if affine is not False else True


def _attention_bias(own: Own) -> object:
    return own.has("in_proj_bias")


def _other_width(name: str) -> Callable[[Own], object]:
    def rule(own: Own) -> object:
        width = own.config.get(name, _MISSING)
        return None if width == own.config.get("embed_dim") else width

    return rule


def _of(child: str, argument: str) -> Callable[[Own], object]:
    return lambda own: own.of_child(child, argument)


def _cutoffs(own: Own) -> object:
    # The constructor adds the number of classes as the last one.
    cutoffs = own.config.get("cutoffs")
    return list(cutoffs[:-1]) if isinstance(cutoffs, list | tuple) else _MISSING


def _nonlinearity(own: Own) -> object:
    mode = own.config.get("mode")
    known = {"RNN_TANH": "tanh", "RNN_RELU": "relu"}
    return known.get(mode, _MISSING) if isinstance(mode, str) else own.config.get("nonlinearity", _MISSING)


def _distance(own: Own) -> object:
    if own.child("distance_function") is not None:
        return None
    return _MISSING if "distance_function" in own.config else None


def _activation(own: Own) -> object:
    """A function of torch.nn.functional by its name; a module is a child like any other."""
    if own.child("activation") is not None:
        return "relu"
    kept = own.config.get("activation")
    if isinstance(kept, str):
        return _SHORT.get(kept, FUNCTIONS.get(kept, _MISSING))
    if "activation" in own.meta.odd:
        return _MISSING
    known = {1: "relu", 2: "gelu"}
    number = own.config.get("activation_relu_or_gelu")
    if isinstance(number, int):
        return known.get(number, _MISSING)
    return _MISSING if own.partial else "relu"


# The functions that torch takes by a word.
_SHORT: Final = {"torch.nn.functional.relu": "relu", "torch._C._nn.gelu": "gelu"}


def _count(child: str) -> Callable[[Own], object]:
    def rule(own: Own) -> object:
        number = 0
        while own.child(f"{child}.{number}") is not None:
            number += 1
        return number

    return rule


_BLOCK: Final[Mapping[str, Callable[[Own], object]]] = {
    "d_model": _of("self_attn", "embed_dim"),
    "nhead": _of("self_attn", "num_heads"),
    "dim_feedforward": _of("linear1", "out_features"),
    "dropout": _of("dropout", "p"),
    "activation": _activation,
    "layer_norm_eps": _of("norm1", "eps"),
    "batch_first": _of("self_attn", "batch_first"),
    "bias": _of("linear1", "bias"),
}
_RULES: Final[Mapping[tuple[str, str], Callable[[Own], object]]] = {
    **{("TransformerEncoderLayer", name): rule for name, rule in _BLOCK.items()},
    **{("TransformerDecoderLayer", name): rule for name, rule in _BLOCK.items()},
    **{
        ("Transformer", name): _of("encoder.layers.0", name)
        for name in (*_BLOCK, "norm_first")
        if name not in ("d_model", "nhead", "batch_first")
    },
    ("Transformer", "num_encoder_layers"): _count("encoder.layers"),
    ("Transformer", "num_decoder_layers"): _count("decoder.layers"),
    ("MultiheadAttention", "bias"): _attention_bias,
    ("MultiheadAttention", "add_bias_kv"): lambda own: own.has("bias_k"),
    ("MultiheadAttention", "kdim"): _other_width("kdim"),
    ("MultiheadAttention", "vdim"): _other_width("vdim"),
    ("AdaptiveLogSoftmaxWithLoss", "cutoffs"): _cutoffs,
    ("PairwiseDistance", "p"): lambda own: own.config.get("norm", _MISSING),
    ("RNN", "nonlinearity"): _nonlinearity,
    ("TripletMarginWithDistanceLoss", "distance_function"): _distance,
    ("LinearCrossEntropyLoss", "in_features"): _of("linear", "in_features"),
    ("LinearCrossEntropyLoss", "bias"): _of("linear", "bias"),
}


def made_of(layer: str, own: Own) -> Mapping[str, object]:
    """Attributes that the constructor of `layer` makes besides those named as its arguments; `...` any."""
    config = own.config
    if "Conv" in layer and layer != "Conv1D":
        sizes = config.get("kernel_size")
        flat = (0,) * len(sizes) if isinstance(sizes, tuple) else ...
        return {"transposed": "Transpose" in layer, "output_padding": flat, "in_channels": 0}
    if layer == "AdaptiveLogSoftmaxWithLoss":
        return dict.fromkeys(("shortlist_size", "n_clusters", "head_size"), ...)
    if layer.startswith("ZeroPad"):
        return {"value": 0.0}
    if layer == "TransformerEncoderLayer":
        activation = _activation(own)
        number = {"relu": 1, "gelu": 2}.get(activation, 0) if isinstance(activation, str) else ...
        return {"activation_relu_or_gelu": number}
    if layer == "ParameterList":
        return {"_size": len(own.tensors)}
    return _MADE.get(layer, _LAZY if layer.startswith("Lazy") else {})


_LAZY: Final[Mapping[str, object]] = {"in_features": 0, "num_features": 0}
_MADE: Final[Mapping[str, Mapping[str, object]]] = {
    "GRU": {"mode": "GRU", "proj_size": 0},
    "LSTM": {"mode": "LSTM"},
    "RNN": {"mode": ..., "proj_size": 0},
    "MultiheadAttention": {"head_dim": ..., "bias_k": None, "bias_v": None},
    "PairwiseDistance": {"norm": ...},
    "LinearCrossEntropyLoss": {"options": None},
    "ReLU6": {"min_val": 0.0, "max_val": 6.0},
    "TransformerDecoder": {"norm": None},
    "TransformerEncoder": {"norm": None, "use_nested_tensor": ...},
    "Upsample": {"name": "Upsample"},
    "UpsamplingBilinear2d": {
        "name": "UpsamplingBilinear2d",
        "mode": "bilinear",
        "align_corners": True,
        "recompute_scale_factor": None,
    },
    "UpsamplingNearest2d": {
        "name": "UpsamplingNearest2d",
        "mode": "nearest",
        "align_corners": None,
        "recompute_scale_factor": None,
    },
}
