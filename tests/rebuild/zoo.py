"""Every layer of torch.nn in several configurations, with inputs for it: a table for tests of rebuilding.

Needs torch. `CASES` are by name; each makes its module anew from the same random numbers.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Case(NamedTuple):
    """A module and what it is called with; no inputs where it is not called, or gives random numbers."""

    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...] | None

    def module(self) -> nn.Module:
        """The module, made from the same random numbers each time."""
        torch.manual_seed(7)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.make()


CASES: dict[str, Case] = {}
Options = Mapping[str, Any]
NONE: Options = {}


def x(*shape: int) -> Tensor:
    """Random numbers, the same for the same shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def add(layer: type[nn.Module], inputs: Any, *variants: Options, **common: Any) -> None:
    """One case of `layer` for each of `variants`, its keywords beside those in `common`."""
    for variant in variants or (NONE,):
        one(layer.__name__, functools.partial(layer, **common, **variant), inputs)


def one(name: str, make: Callable[[], nn.Module], inputs: Any = None) -> None:
    """One case; those of one name are numbered."""
    number = sum(each.rpartition("-")[0] == name for each in CASES)
    given = inputs if isinstance(inputs, tuple) or inputs is None else (inputs,)
    CASES[f"{name}-{number}"] = Case(make, given)


def _activations() -> None:
    image = x(2, 4, 5, 5)
    for plain in ("Sigmoid", "Tanh", "Tanhshrink", "Softsign", "Softmax2d", "LogSigmoid", "Identity"):
        add(getattr(nn, plain), image)
    for name in ("ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "Hardsigmoid"):
        add(getattr(nn, name), image, NONE, {"inplace": True})
    for choice in (nn.Softmax, nn.Softmin, nn.LogSoftmax):
        add(choice, image, {"dim": 1}, {"dim": -1})
    for exponential in (nn.ELU, nn.CELU):
        add(exponential, image, NONE, {"alpha": 0.5, "inplace": True})
    for shrink in (nn.Hardshrink, nn.Softshrink):
        add(shrink, image, NONE, {"lambd": 0.25})
    add(nn.GELU, image, NONE, {"approximate": "tanh"})
    add(nn.GLU, image, {"dim": 1})
    add(nn.Hardtanh, image, NONE, {"min_val": -2.0, "max_val": 3, "inplace": True})
    add(nn.LeakyReLU, image, NONE, {"negative_slope": 0.2, "inplace": True})
    add(nn.PReLU, image, NONE, {"num_parameters": 4, "init": 0.1})
    add(nn.RReLU, None, NONE, {"lower": 0.2, "upper": 0.4})
    add(nn.Softplus, image, NONE, {"beta": 2, "threshold": 10})
    add(nn.Threshold, image, {"threshold": 1, "value": 20}, {"threshold": 0.1, "value": 2.5, "inplace": True})


def _linears() -> None:
    sizes = {"in_features": 3, "out_features": 4}
    add(nn.Linear, x(2, 3), NONE, {"bias": False}, **sizes)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        add(nn.Linear, x(2, 3).to(dtype), {"dtype": dtype}, **sizes)
    add(nn.modules.linear.NonDynamicallyQuantizableLinear, x(2, 3), **sizes)
    add(nn.LazyLinear, None, {"out_features": 3}, {"out_features": 2, "bias": False})
    both = {"in1_features": 3, "in2_features": 4, "out_features": 5}
    add(nn.Bilinear, (x(2, 3), x(2, 4)), both, {**both, "bias": False})
    tokens = torch.tensor([[1, 2, 0], [3, 4, 4]])
    table = {"num_embeddings": 5, "embedding_dim": 3}
    capped = {"max_norm": 1.0, "norm_type": 1.0, "scale_grad_by_freq": True}
    add(nn.Embedding, tokens, NONE, {"padding_idx": -1, "sparse": True}, capped, **table)
    bag = {"mode": "sum", "padding_idx": 1, "include_last_offset": True, "max_norm": 2.0}
    add(nn.EmbeddingBag, tokens, NONE, bag, {"mode": "max"}, **table)


def _convolutions() -> None:
    for dim in (1, 2, 3):
        image = x(2, 4, *[7, 8, 9][:dim])
        uneven = tuple(range(2, 2 + dim))
        sizes = {"in_channels": 4, "out_channels": 6, "kernel_size": 3}
        add(
            getattr(nn, f"Conv{dim}d"),
            image,
            sizes,
            {
                **sizes,
                "kernel_size": uneven,
                "stride": 2,
                "padding": tuple(range(dim)),
                "groups": 2,
                "bias": False,
            },
            {**sizes, "padding": "same", "dilation": 2},
            {**sizes, "padding": "valid", "kernel_size": [3] * dim},
            {**sizes, "padding": 1, "padding_mode": "circular"},
            {**sizes, "padding": 2, "padding_mode": "replicate"},
            {**sizes, "padding": "same", "padding_mode": "reflect"},
        )
        add(
            getattr(nn, f"ConvTranspose{dim}d"),
            image,
            sizes,
            {**sizes, "kernel_size": uneven, "stride": 2, "output_padding": 1, "groups": 2, "bias": False},
            {**sizes, "padding": 1, "dilation": 2},
        )
        few = {"out_channels": 4, "kernel_size": 3, "groups": 2, "bias": False, "stride": 2}
        add(getattr(nn, f"LazyConv{dim}d"), None, {"out_channels": 3, "kernel_size": 2}, few)
        add(getattr(nn, f"LazyConvTranspose{dim}d"), None, {"out_channels": 3, "kernel_size": 2}, few)


def _norms() -> None:
    for dim in (1, 2, 3):
        image = x(3, 4, *[7, 8, 9][:dim])
        no_bias = {"bias": False} if _takes(nn.BatchNorm1d, "bias") else {}
        odd = ({"eps": 1e-3, "momentum": None}, {"affine": False}, {"track_running_stats": False}, no_bias)
        add(getattr(nn, f"BatchNorm{dim}d"), image, NONE, *odd, num_features=4)
        tracked = {"affine": True, "track_running_stats": True, "momentum": 0.3}
        add(
            getattr(nn, f"InstanceNorm{dim}d"),
            image,
            NONE,
            tracked,
            {"affine": True, "eps": 1e-2},
            num_features=4,
        )
        add(getattr(nn, f"LazyBatchNorm{dim}d"), None, NONE, {"affine": False, "eps": 1e-3})
        add(getattr(nn, f"LazyInstanceNorm{dim}d"), None, NONE, {"momentum": 0.2})
    add(nn.SyncBatchNorm, None, {"num_features": 4}, {"num_features": 4, "momentum": 0.2})
    image = x(2, 4, 5, 5)
    add(nn.GroupNorm, image, NONE, {"eps": 1e-3, "affine": False}, num_groups=2, num_channels=4)
    add(nn.LayerNorm, x(2, 4), {"normalized_shape": 4}, {"normalized_shape": [2, 4], "eps": 1e-3})
    add(nn.LayerNorm, x(2, 4), {"bias": False}, {"elementwise_affine": False}, normalized_shape=(2, 4))
    add(nn.RMSNorm, x(2, 4), {"normalized_shape": 4}, {"normalized_shape": (2, 4), "eps": 1e-4})
    add(nn.RMSNorm, x(2, 4), {"normalized_shape": 4, "elementwise_affine": False})
    add(nn.LocalResponseNorm, image, {"size": 2}, {"size": 3, "alpha": 1e-3, "beta": 0.5, "k": 2.0})
    add(nn.CrossMapLRN2d, image, {"size": 3}, {"size": 3, "alpha": 1e-3, "beta": 0.5, "k": 2})


def _takes(layer: type[nn.Module], name: str) -> bool:
    return name in layer.__init__.__code__.co_varnames


def _recurrent() -> None:
    sizes = {"input_size": 3, "hidden_size": 4}
    options: list[Options] = [
        NONE,
        {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
        {"bias": False, "batch_first": True},
    ]
    add(nn.LSTM, x(5, 2, 3), *options, {"proj_size": 2, "num_layers": 2}, **sizes)
    add(nn.LSTM, x(5, 2, 3), {"proj_size": 2, "bias": False, "bidirectional": True}, **sizes)
    add(nn.GRU, x(5, 2, 3), *options, **sizes)
    add(nn.RNN, x(5, 2, 3), *options, {"nonlinearity": "relu"}, **sizes)
    for cell in (nn.LSTMCell, nn.GRUCell, nn.RNNCell):
        add(cell, x(2, 3), NONE, {"bias": False}, **sizes)
    add(nn.RNNCell, x(2, 3), {"nonlinearity": "relu"}, **sizes)


def _attention() -> None:
    q, k, v = x(5, 2, 8), x(5, 2, 8) + 1, x(5, 2, 8) - 1
    add(
        nn.MultiheadAttention,
        (q, k, v),
        NONE,
        {"bias": False, "dropout": 0.25},
        {"add_bias_kv": True, "add_zero_attn": True},
        embed_dim=8,
        num_heads=2,
    )
    add(nn.MultiheadAttention, (q, q, q), embed_dim=8, num_heads=2, batch_first=True, dropout=0.5)
    add(nn.MultiheadAttention, (q, x(5, 2, 3), x(5, 2, 5)), embed_dim=8, num_heads=4, kdim=3, vdim=5)
    layer: Options = {"d_model": 8, "nhead": 2, "dim_feedforward": 6}
    options: list[Options] = [
        NONE,
        {"activation": "gelu", "norm_first": True, "dropout": 0.3},
        {"activation": functional.silu, "batch_first": True},
        {"activation": torch.tanh, "bias": False, "layer_norm_eps": 1e-3},
        {"activation": nn.LeakyReLU(0.3)},
    ]
    add(nn.TransformerEncoderLayer, q, *options, **layer)
    add(nn.TransformerDecoderLayer, (q, k), *options, **layer)
    encoder = functools.partial(nn.TransformerEncoderLayer, **layer)
    one("TransformerEncoder", lambda: nn.TransformerEncoder(encoder(), 2), q)
    off = {"enable_nested_tensor": False, "mask_check": False}
    first = functools.partial(encoder, batch_first=True)
    one("TransformerEncoder", lambda: nn.TransformerEncoder(first(), 2, nn.LayerNorm(8), **off), q)
    decoder = functools.partial(nn.TransformerDecoderLayer, **layer)
    one("TransformerDecoder", lambda: nn.TransformerDecoder(decoder(), 2, nn.LayerNorm(8)), (q, k))
    small: Options = {"num_encoder_layers": 1, "num_decoder_layers": 2}
    add(
        nn.Transformer,
        (q, k),
        NONE,
        {"activation": "gelu", "batch_first": True, "bias": False},
        **layer,
        **small,
    )
    one("Transformer", lambda: nn.Transformer(8, 2, custom_encoder=nn.Identity(), num_decoder_layers=1), None)


def _pools() -> None:
    for dim in (1, 2, 3):
        image = x(2, 4, *[8, 9, 10][:dim])
        uneven = tuple(range(2, 2 + dim))
        add(getattr(nn, f"AdaptiveAvgPool{dim}d"), image, {"output_size": 3}, {"output_size": uneven})
        add(getattr(nn, f"AdaptiveMaxPool{dim}d"), image, {"output_size": 3}, {"output_size": uneven,
            "return_indices": True})  # fmt: skip
        pool = {
            "kernel_size": uneven,
            "stride": 2,
            "padding": 1,
            "ceil_mode": True,
            "count_include_pad": False,
        }
        add(getattr(nn, f"AvgPool{dim}d"), image, {"kernel_size": 2}, pool)
        most = {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 2, "return_indices": True}
        add(getattr(nn, f"MaxPool{dim}d"), image, {"kernel_size": uneven}, most, {"kernel_size": [2] * dim})
        add(
            getattr(nn, f"MaxUnpool{dim}d"),
            None,
            {"kernel_size": 2},
            {"kernel_size": 3, "stride": 2, "padding": 1},
        )
        power = {"norm_type": 2, "kernel_size": 2}
        add(getattr(nn, f"LPPool{dim}d"), image, power, {**power, "stride": 1, "ceil_mode": True})
    add(nn.AvgPool2d, x(2, 4, 8, 9), {"kernel_size": 2, "divisor_override": 3})
    add(nn.AdaptiveAvgPool2d, x(2, 4, 8, 9), {"output_size": (None, 3)})
    for fractional in (nn.FractionalMaxPool2d, nn.FractionalMaxPool3d):
        add(fractional, None, {"kernel_size": 2, "output_size": 3}, {"kernel_size": 2, "output_ratio": 0.5})


def _shapes() -> None:
    for dim in (1, 2, 3):
        image = x(2, 4, *[8, 9, 10][:dim])
        sides = tuple(range(1, 1 + 2 * dim))
        for name in ("CircularPad", "ReflectionPad", "ReplicationPad", "ZeroPad"):
            add(getattr(nn, f"{name}{dim}d"), image, {"padding": 1}, {"padding": sides})
        constants = ({"padding": 1, "value": 2}, {"padding": sides, "value": 0.5})
        add(getattr(nn, f"ConstantPad{dim}d"), image, *constants)
    image = x(2, 4, 6, 6)
    add(nn.ChannelShuffle, image, {"groups": 2})
    add(nn.PixelShuffle, image, {"upscale_factor": 2})
    add(nn.PixelUnshuffle, image, {"downscale_factor": 3})
    add(nn.Flatten, image, NONE, {"start_dim": 0, "end_dim": 2})
    add(
        nn.Unflatten,
        image,
        {"dim": 1, "unflattened_size": (2, 2)},
        {"dim": 1, "unflattened_size": torch.Size([4, 1])},
    )
    add(
        nn.Unfold,
        image,
        {"kernel_size": 2},
        {"kernel_size": (2, 3), "padding": 1, "stride": 2, "dilation": (1, 2)},
    )
    add(nn.Fold, x(2, 4, 9), {"output_size": 4, "kernel_size": (2, 2)})
    add(nn.Fold, x(2, 4, 4), {"output_size": [4, 4], "kernel_size": 2, "stride": 2})
    scaled = {"scale_factor": (2.0, 1.5), "mode": "bilinear", "align_corners": False}
    add(nn.Upsample, image, {"size": 5}, {"scale_factor": 2}, {"size": (3, 4), "mode": "bicubic"})
    add(nn.Upsample, image, scaled, {**scaled, "recompute_scale_factor": True})
    add(nn.UpsamplingNearest2d, image, {"scale_factor": 2}, {"size": (3, 4)})
    add(nn.UpsamplingBilinear2d, image, {"scale_factor": 2}, {"size": (3, 4)})
    for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"):
        add(getattr(nn, name), None, NONE, {"p": 0.1, "inplace": True})
    add(nn.CosineSimilarity, (x(2, 3), x(2, 3)), NONE, {"dim": 0, "eps": 1e-6})
    add(nn.PairwiseDistance, (x(2, 3), x(2, 3)), NONE, {"p": 1, "eps": 1e-5, "keepdim": True})


def _losses() -> None:
    a, b = x(3, 4), x(3, 4).flip(0)
    for name in (
        "L1Loss",
        "MSELoss",
        "SoftMarginLoss",
        "KLDivLoss",
        "SmoothL1Loss",
        "HuberLoss",
        "PoissonNLLLoss",
    ):
        add(getattr(nn, name), (a, b), NONE, {"reduction": "sum"})
    classes, weights = torch.tensor([1, 0, 3]), x(4).abs()
    add(
        nn.CrossEntropyLoss,
        (a, classes),
        NONE,
        {"weight": weights, "ignore_index": 1, "label_smoothing": 0.1},
    )
    add(nn.NLLLoss, (a, classes), NONE, {"weight": weights, "ignore_index": 1, "reduction": "none"})
    add(nn.BCELoss, (a.sigmoid(), b.sigmoid()), NONE, {"weight": weights})
    add(nn.BCEWithLogitsLoss, (a, b.sigmoid()), NONE, {"weight": weights, "pos_weight": weights + 1})
    add(nn.MultiMarginLoss, (a, classes), NONE, {"p": 2, "margin": 0.5, "weight": weights})
    add(nn.MultiLabelSoftMarginLoss, (a, b.sigmoid()), NONE, {"weight": weights})
    add(nn.MultiLabelMarginLoss, (a, torch.tensor([[1, 0, -1, 2]] * 3)))
    add(nn.CTCLoss, None, NONE, {"blank": 1, "zero_infinity": True})
    add(nn.KLDivLoss, (a, b), {"log_target": True, "reduction": "batchmean"})
    add(nn.SmoothL1Loss, (a, b), {"beta": 0.5})
    add(nn.HuberLoss, (a, b), {"delta": 0.5})
    add(nn.PoissonNLLLoss, (a, b), {"log_input": False, "full": True, "eps": 1e-6})
    add(nn.GaussianNLLLoss, (a, b, a.abs() + 1), NONE, {"full": True, "eps": 1e-4, "reduction": "sum"})
    add(nn.HingeEmbeddingLoss, (a, b.sign()), NONE, {"margin": 0.5})
    add(nn.MarginRankingLoss, (a, b, b.sign()), NONE, {"margin": 0.5})
    add(nn.CosineEmbeddingLoss, (a, b, x(3).sign()), NONE, {"margin": 0.5})
    add(nn.TripletMarginLoss, (a, b, a + 1), NONE, {"margin": 2.0, "p": 1, "eps": 1e-5, "swap": True})
    add(nn.TripletMarginWithDistanceLoss, (a, b, a + 1), NONE, {"margin": 2.0, "swap": True})
    add(nn.TripletMarginWithDistanceLoss, None, {"distance_function": nn.CosineSimilarity()})
    sizes = {"in_features": 4, "n_classes": 10, "cutoffs": [2, 5]}
    add(nn.AdaptiveLogSoftmaxWithLoss, (a, classes), sizes, {**sizes, "div_value": 2.0, "head_bias": True})


def _containers() -> None:
    one(
        "Sequential",
        lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2))),
        x(2, 3),
    )
    one("Sequential", nn.Sequential, x(2, 3))
    one("ModuleList", lambda: nn.ModuleList([nn.Linear(1, 2), nn.ModuleList([nn.ReLU()])]))
    one("ModuleDict", lambda: nn.ModuleDict({"a b": nn.Linear(1, 2), "c": nn.ModuleDict({"d": nn.Tanh()})}))
    one("ParameterList", lambda: nn.ParameterList([torch.ones(2), torch.zeros(3)]))
    one("ParameterDict", lambda: nn.ParameterDict({"left": torch.ones(2), "right": torch.zeros(3)}))
    one("Module", nn.Module)


for _fill in (
    *(_activations, _linears, _convolutions, _norms, _recurrent),
    *(_attention, _pools, _shapes, _losses, _containers),
):
    _fill()
