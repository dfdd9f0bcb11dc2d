"""What the constructors of torch.nn take, and what they make of it: data, without torch.

A class takes the arguments of its row, each with torch's default, `...` where there is none; an argument is
kept as an attribute of its own name unless `derive` knows better. Sources: torch/nn/modules of torch 2.13;
a test holds this table against their signatures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import EllipsisType, MappingProxyType
from typing import Final

Row = Mapping[str, object]
_CLASS: Final = re.compile(r"torch\.nn\.(?:modules\.[a-z]+\.)?(\w+)")
_NEEDED: Final = ...


def _row(*needed: str, **defaults: object) -> Row:
    return MappingProxyType({**dict.fromkeys(needed, _NEEDED), **defaults})


def _shared(names: str, row: Row) -> dict[str, Row]:
    return dict.fromkeys(names.split(), row)


def _sized(names: str, row: Row) -> dict[str, Row]:
    return {name + size: row for name in names.split() for size in ("1d", "2d", "3d")}


def _without(row: Row, *names: str) -> Row:
    return MappingProxyType({name: value for name, value in row.items() if name not in names})


_KERNEL = {"stride": 1, "padding": 0}
_CONV = _row(
    *("in_channels", "out_channels", "kernel_size"),
    **{**_KERNEL, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"},
)
_TRANSPOSED = _row(
    *("in_channels", "out_channels", "kernel_size"),
    **{**_KERNEL, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1, "padding_mode": "zeros"},
)
_BATCH = _row("num_features", eps=1e-5, momentum=0.1, affine=True, track_running_stats=True, bias=True)
_INSTANCE = _row("num_features", eps=1e-5, momentum=0.1, affine=False, track_running_stats=False, bias=True)
_SYNC = _row(
    "num_features", **{**_without(_BATCH, "num_features", "bias"), "process_group": None, "bias": True}
)
_RECURRENT = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
_CELL = _row("input_size", "hidden_size", bias=True)
_LAYER = {"dim_feedforward": 2048, "dropout": 0.1, "activation": "relu", "layer_norm_eps": 1e-5}
_ORDER = {"batch_first": False, "norm_first": False, "bias": True}
_ADAPTIVE_MAX = _row("output_size", return_indices=False)
_MAX_POOL = _row("kernel_size", stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False)
_AVG_POOL = _row("kernel_size", stride=None, padding=0, ceil_mode=False, count_include_pad=True)
_AVG_POOLS = MappingProxyType({**_AVG_POOL, "divisor_override": None})
_UNPOOL = _row("kernel_size", stride=None, padding=0)
_LP_POOL = _row("norm_type", "kernel_size", stride=None, ceil_mode=False)
_FRACTIONAL = _row("kernel_size", output_size=None, output_ratio=None, return_indices=False)
_SCALED = _row(size=None, scale_factor=None)
_REDUCED = _row(reduction="mean")
_MARGIN = _row(margin=0.0, reduction="mean")

ACTIVATIONS: Final[Mapping[str, Row]] = {
    **_shared("Sigmoid Tanh Tanhshrink Softsign Softmax2d LogSigmoid", _row()),
    **_shared("ReLU ReLU6 SELU SiLU Mish Hardswish Hardsigmoid", _row(inplace=False)),
    **_shared("Softmax Softmin LogSoftmax", _row(dim=None)),
    **_shared("ELU CELU", _row(alpha=1.0, inplace=False)),
    **_shared("Hardshrink Softshrink", _row(lambd=0.5)),
    "GELU": _row(approximate="none"),
    "GLU": _row(dim=-1),
    "Hardtanh": _row(min_val=-1.0, max_val=1.0, inplace=False),
    "LeakyReLU": _row(negative_slope=0.01, inplace=False),
    "PReLU": _row(num_parameters=1, init=0.25),
    "RReLU": _row(lower=1 / 8, upper=1 / 3, inplace=False),
    "Softplus": _row(beta=1.0, threshold=20.0),
    "Threshold": _row("threshold", "value", inplace=False),
}
POOLS: Final[Mapping[str, Row]] = {
    **_sized("AdaptiveAvgPool", _row("output_size")),
    **_sized("AdaptiveMaxPool", _ADAPTIVE_MAX),
    "AvgPool1d": _AVG_POOL,
    **_shared("AvgPool2d AvgPool3d", _AVG_POOLS),
    **_sized("MaxPool", _MAX_POOL),
    **_sized("MaxUnpool", _UNPOOL),
    **_sized("LPPool", _LP_POOL),
    **_shared("FractionalMaxPool2d FractionalMaxPool3d", _FRACTIONAL),
}
SHAPES: Final[Mapping[str, Row]] = {
    **_sized("CircularPad ReflectionPad ReplicationPad ZeroPad", _row("padding")),
    **_sized("ConstantPad", _row("padding", "value")),
    "ChannelShuffle": _row("groups"),
    "Flatten": _row(start_dim=1, end_dim=-1),
    "Fold": _row("output_size", "kernel_size", dilation=1, padding=0, stride=1),
    "Identity": _row(),
    "PixelShuffle": _row("upscale_factor"),
    "PixelUnshuffle": _row("downscale_factor"),
    "Unflatten": _row("dim", "unflattened_size"),
    "Unfold": _row("kernel_size", dilation=1, padding=0, stride=1),
    "Upsample": _row(
        size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None
    ),
    "UpsamplingBilinear2d": _SCALED,
    "UpsamplingNearest2d": _SCALED,
}
LOSSES: Final[Mapping[str, Row]] = {
    **_shared("BCELoss BCEWithLogitsLoss L1Loss MSELoss MultiLabelMarginLoss", _REDUCED),
    **_shared("MultiLabelSoftMarginLoss SoftMarginLoss", _REDUCED),
    **_shared("CosineEmbeddingLoss MarginRankingLoss", _MARGIN),
    **_shared("NLLLoss NLLLoss2d", _row(ignore_index=-100, reduction="mean")),
    "CTCLoss": _row(blank=0, reduction="mean", zero_infinity=False),
    "CrossEntropyLoss": _row(ignore_index=-100, reduction="mean", label_smoothing=0.0),
    "GaussianNLLLoss": _row(full=False, eps=1e-6, reduction="mean"),
    "HingeEmbeddingLoss": _row(margin=1.0, reduction="mean"),
    "HuberLoss": _row(reduction="mean", delta=1.0),
    "LinearCrossEntropyLoss": _row(
        *("in_features", "num_classes"),
        **{"out_features": (), "bias": False, "reduction": "mean"},
        **{"ignore_index": None, "label_smoothing": 0.0},
    ),
    "KLDivLoss": _row(reduction="mean", log_target=False),
    "MultiMarginLoss": _row(p=1, margin=1.0, reduction="mean"),
    "PoissonNLLLoss": _row(log_input=True, full=False, eps=1e-8, reduction="mean"),
    "SmoothL1Loss": _row(reduction="mean", beta=1.0),
    "TripletMarginLoss": _row(margin=1.0, p=2.0, eps=1e-6, swap=False, reduction="mean"),
    "TripletMarginWithDistanceLoss": _row(distance_function=None, margin=1.0, swap=False, reduction="mean"),
}
LAYERS: Final[Mapping[str, Row]] = {
    **_sized("Conv", _CONV),
    **_sized("ConvTranspose", _TRANSPOSED),
    **_sized("LazyConv", _without(_CONV, "in_channels")),
    **_sized("LazyConvTranspose", _without(_TRANSPOSED, "in_channels")),
    **_sized("BatchNorm", _BATCH),
    **_sized("InstanceNorm", _INSTANCE),
    **_sized("LazyBatchNorm", _without(_BATCH, "num_features")),
    # As torch has it, where the others of its family say False.
    **_sized("LazyInstanceNorm", _without(_BATCH, "num_features")),
    **_shared("Linear NonDynamicallyQuantizableLinear", _row("in_features", "out_features", bias=True)),
    "SyncBatchNorm": _SYNC,
    "LazyLinear": _row("out_features", bias=True),
    "Bilinear": _row("in1_features", "in2_features", "out_features", bias=True),
    **_shared("GRUCell LSTMCell", _CELL),
    "RNNCell": MappingProxyType({**_CELL, "nonlinearity": "tanh"}),
    "GRU": _row("input_size", "hidden_size", **_RECURRENT),
    "LSTM": _row("input_size", "hidden_size", **_RECURRENT, proj_size=0),
    "RNNBase": _row("mode", "input_size", "hidden_size", **_RECURRENT, proj_size=0),
    "RNN": _row("input_size", "hidden_size", **{**_RECURRENT, "nonlinearity": "tanh"}),
    "CosineSimilarity": _row(dim=1, eps=1e-8),
    "PairwiseDistance": _row(p=2.0, eps=1e-6, keepdim=False),
    **_sized("Dropout", _row(p=0.5, inplace=False)),
    **_shared("Dropout AlphaDropout FeatureAlphaDropout", _row(p=0.5, inplace=False)),
    "CrossMapLRN2d": _row("size", alpha=1e-4, beta=0.75, k=1),
    "LocalResponseNorm": _row("size", alpha=1e-4, beta=0.75, k=1.0),
    "GroupNorm": _row("num_groups", "num_channels", eps=1e-5, affine=True, bias=True),
    "LayerNorm": _row("normalized_shape", eps=1e-5, elementwise_affine=True, bias=True),
    "RMSNorm": _row("normalized_shape", eps=None, elementwise_affine=True),
    "Embedding": _row(
        *("num_embeddings", "embedding_dim"),
        **{"padding_idx": None, "max_norm": None, "norm_type": 2.0},
        **{"scale_grad_by_freq": False, "sparse": False},
    ),
    "EmbeddingBag": _row(
        *("num_embeddings", "embedding_dim"),
        **{"max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "mode": "mean"},
        **{"sparse": False, "include_last_offset": False, "padding_idx": None},
    ),
    "AdaptiveLogSoftmaxWithLoss": _row("in_features", "n_classes", "cutoffs", div_value=4.0, head_bias=False),
}
COMPOSITES: Final[Mapping[str, Row]] = {
    "MultiheadAttention": _row(
        *("embed_dim", "num_heads"),
        **{"dropout": 0.0, "bias": True, "add_bias_kv": False, "add_zero_attn": False},
        **{"kdim": None, "vdim": None, "batch_first": False},
    ),
    **_shared(
        "TransformerEncoderLayer TransformerDecoderLayer", _row("d_model", "nhead", **_LAYER, **_ORDER)
    ),
    "TransformerEncoder": _row("num_layers", enable_nested_tensor=True, mask_check=True),
    "TransformerDecoder": _row("num_layers"),
    "Transformer": _row(
        **{"d_model": 512, "nhead": 8, "num_encoder_layers": 6, "num_decoder_layers": 6},
        **{**_LAYER, **_ORDER},
    ),
}
CONTAINERS: Final[Mapping[str, Row]] = _shared(
    "Module Container Sequential ModuleList ModuleDict ParameterList ParameterDict", _row()
)
ROWS: Final[Mapping[str, Row]] = MappingProxyType(
    {**ACTIVATIONS, **POOLS, **SHAPES, **LOSSES, **LAYERS, **COMPOSITES, **CONTAINERS}
)
# Classes that have been called otherwise.
_RENAMED: Final = {"_LinearWithBias": "NonDynamicallyQuantizableLinear"}

# Functions that layers keep as `activation`: how pickles name them, and how source does.
_FUNCTIONAL: Final = (
    *("relu", "gelu", "silu", "elu", "selu", "celu", "glu", "mish", "tanh", "sigmoid", "relu6", "rrelu"),
    *("leaky_relu", "hardtanh", "hardswish", "hardsigmoid", "softplus", "softsign", "softshrink"),
    *("hardshrink", "logsigmoid", "tanhshrink"),
)
_OF_TORCH: Final = ("relu", "relu_", "tanh", "sigmoid", "selu", "selu_", "celu", "celu_", "rrelu", "rrelu_")
FUNCTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{f"torch.nn.functional.{name}": f"torch.nn.functional.{name}" for name in _FUNCTIONAL},
        **{
            f"torch._C._nn.{name}": f"torch.nn.functional.{name}"
            for name in ("gelu", "softplus", "softshrink")
        },
        "torch._C._nn.log_sigmoid": "torch.nn.functional.logsigmoid",
        **{f"torch._C._VariableFunctionsClass.{name}": f"torch.{name}" for name in _OF_TORCH},
        "torch._C._VariableFunctionsClass.hardshrink": "torch.nn.functional.hardshrink",
    }
)


def layer_of(cls: str | None) -> str | None:
    """The torch.nn class that a file means by `cls`, where it is one that we know to construct."""
    found = _CLASS.fullmatch(cls or "")
    name = _RENAMED.get(found[1], found[1]) if found else None
    return name if name in ROWS else None


def needs(layer: str, argument: str) -> bool:
    """Whether torch cannot make the layer without the argument."""
    return is_needed(ROWS.get(layer, {}).get(argument))


def is_needed(default: object) -> bool:
    """Whether torch has no default for the argument."""
    return isinstance(default, EllipsisType)
