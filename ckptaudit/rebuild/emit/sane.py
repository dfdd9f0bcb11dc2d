"""Whether a constructor of torch.nn takes the arguments that a file tells, which may be wrong in any way.

Where a constructor keeps an argument as it is, anything will do; here is what it checks or computes with.
Sources: torch/nn/modules of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
from typing import Final

from ckptaudit.layers import ModuleLike, TensorLike
from ckptaudit.rebuild.known import ROWS, is_needed

Arguments = Mapping[str, object]
_MODULES: Final = frozenset(
    {"encoder_layer", "decoder_layer", "norm", "custom_encoder", "custom_decoder", "activation"}
    | {"distance_function"}
)
_TENSORS: Final = frozenset({"weight", "pos_weight"})
_PADDINGS: Final = frozenset({"zeros", "reflect", "replicate", "circular"})


def is_sane(layer: str, arguments: Arguments) -> bool:
    """Whether `nn.layer(**arguments)` raises nothing, as far as its tensors fit in memory."""
    row = ROWS.get(layer)
    if row is None:
        return True
    for name, given in arguments.items():
        if isinstance(given, ModuleLike) and not is_sane(given.layer, given.arguments):
            return False
        if name not in row and name not in (_MODULES if not isinstance(given, TensorLike) else _TENSORS):
            return False
    told = {name: default for name, default in row.items() if not is_needed(default)}
    try:
        rule = _RULES.get(layer)
        return rule is None or rule({**told, **arguments})
    except (KeyError, TypeError, ValueError, OverflowError, ZeroDivisionError):
        return False


def _is_number(thing: object) -> bool:
    return type(thing) in (int, float) and isfinite(thing)  # type: ignore[arg-type]


def _is_share(thing: object) -> bool:
    return _is_number(thing) and 0 <= thing <= 1  # type: ignore[operator]


def _is_count(thing: object) -> bool:
    return type(thing) is int and thing > 0


def _are_ints(thing: object) -> bool:
    sizes = thing if isinstance(thing, tuple | list) else (thing,)
    return all(type(size) is int for size in sizes)


def _are_all(thing: object, wanted: int) -> bool:
    return all(size == wanted for size in (thing if isinstance(thing, tuple | list) else (thing,)))


def _divides(given: Arguments, part: str, *wholes: str) -> bool:
    sizes = [given[name] for name in (part, *wholes)]
    return _is_count(sizes[0]) and _are_ints(sizes) and all(size % sizes[0] == 0 for size in sizes[1:])  # type: ignore[operator]


def _convolution(transposed: bool, lazy: bool, given: Arguments) -> bool:
    padding = given["padding"]
    if isinstance(padding, str):
        plain = padding == "valid" or (padding == "same" and _are_all(given["stride"], 1))
        if transposed or not plain:
            return False
    elif not _are_ints(padding):
        return False
    numbers = [given[name] for name in ("kernel_size", "stride", "dilation")]
    modes = {"zeros"} if transposed else _PADDINGS
    channels = () if lazy else ("in_channels", "out_channels")
    return (
        all(map(_are_ints, numbers))
        and given["padding_mode"] in modes
        and _divides(given, "groups", *channels)
    )


def _recurrent(given: Arguments) -> bool:
    project = given.get("proj_size", 0)
    return (
        all(_is_count(given[name]) for name in ("input_size", "hidden_size", "num_layers"))
        and all(type(given[name]) is bool for name in ("bias", "batch_first"))
        and _is_share(given["dropout"])
        and given.get("nonlinearity", "tanh") in ("tanh", "relu")
        and type(project) is int
        and 0 <= project < given["hidden_size"]  # type: ignore[operator]
        and (project == 0 or given.get("mode", "LSTM") == "LSTM")
    )


def _transformer_layer(given: Arguments) -> bool:
    return _divides(given, "nhead", "d_model") and given["d_model"] != 0 and _is_share(given["dropout"])


def _is_padded_within(given: Arguments) -> bool:
    at, size = given["padding_idx"], given["num_embeddings"]
    return at is None or (type(at) is int and type(size) is int and -size <= at < size)


def _fractional(given: Arguments) -> bool:
    kernel, size, ratio = (given[name] for name in ("kernel_size", "output_size", "output_ratio"))
    ratios = ratio if isinstance(ratio, tuple | list) else (ratio,)
    kernels = kernel if isinstance(kernel, tuple | list) else (kernel,)
    return (
        (size is None) != (ratio is None)
        and all(map(_is_count, kernels))
        and (ratio is None or (len(ratios) > 0 and all(_is_number(each) and 0 < each < 1 for each in ratios)))
    )


def _upsample(given: Arguments) -> bool:
    scale = given["scale_factor"]
    scales = scale if isinstance(scale, tuple | list) else (scale,)
    return scale is None or all(map(_is_number, scales))


def _unflatten(given: Arguments) -> bool:
    sizes = given["unflattened_size"]
    if type(given["dim"]) is int:
        return isinstance(sizes, tuple | list) and _are_ints(sizes)
    pairs = isinstance(sizes, tuple | list) and all(isinstance(pair, tuple) for pair in sizes)
    return type(given["dim"]) is str and pairs


def _classes(given: Arguments) -> bool:
    cuts = given["cutoffs"]
    if not isinstance(cuts, tuple | list) or not cuts or not _are_ints(cuts):
        return False
    rising = all(one < other for one, other in zip(cuts, [*cuts[1:], given["n_classes"]], strict=True))
    return rising and cuts[0] > 0 and _is_number(given["div_value"])


def _margin(given: Arguments) -> bool:
    return _is_number(given["margin"]) and given["margin"] > 0  # type: ignore[operator]


def _multi_margin(given: Arguments) -> bool:
    weight = given.get("weight")
    return given["p"] in (1, 2) and (weight is None or len(weight.shape) == 1)  # type: ignore[attr-defined]


_RULES: Final[Mapping[str, Callable[[Arguments], bool]]] = {
    **{
        f"{lazy}Conv{way}{dims}d": partial(_convolution, way != "", lazy != "")
        for lazy in ("", "Lazy")
        for way in ("", "Transpose")
        for dims in (1, 2, 3)
    },
    **dict.fromkeys(("RNNBase", "RNN", "GRU", "LSTM"), _recurrent),
    **dict.fromkeys(("TransformerEncoderLayer", "TransformerDecoderLayer"), _transformer_layer),
    "Transformer": _transformer_layer,
    "MultiheadAttention": lambda given: _divides(given, "num_heads", "embed_dim") and given["embed_dim"] != 0,
    "Bilinear": lambda given: _is_count(given["in1_features"]),
    "GroupNorm": lambda given: _divides(given, "num_groups", "num_channels"),
    **dict.fromkeys(("Embedding", "EmbeddingBag"), _is_padded_within),
    "PReLU": lambda given: _is_number(given["init"]),
    **dict.fromkeys(
        ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"),
        lambda given: _is_share(given["p"]),
    ),
    "Hardtanh": lambda given: given["max_val"] > given["min_val"],  # type: ignore[operator]
    **dict.fromkeys(("FractionalMaxPool2d", "FractionalMaxPool3d"), _fractional),
    **dict.fromkeys(("Upsample", "UpsamplingNearest2d", "UpsamplingBilinear2d"), _upsample),
    "Unflatten": _unflatten,
    "AdaptiveLogSoftmaxWithLoss": _classes,
    "HuberLoss": lambda given: _is_number(given["delta"]),
    "MultiMarginLoss": _multi_margin,
    **dict.fromkeys(("TripletMarginLoss", "TripletMarginWithDistanceLoss"), _margin),
    # It makes tensors in a layer of its own.
    "LinearCrossEntropyLoss": lambda _: False,
}
