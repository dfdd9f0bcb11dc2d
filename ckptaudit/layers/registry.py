"""Every layer that is known by the tensors it owns, one entry each. To add a layer, add its entry.

An entry says which names the layer's tensors have, what shapes they take (`fit`), how usual it is among
the layers that fit the same tensors (`usual`: a weight in points, see `evidence`), which words in a
module's name speak for it, and what its tensors do not show. Layers made of other layers that own the
tensors are in `composites`; lazy ones, whose shapes are not known, in `lazies`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ckptaudit.layers import fits, fits_recurrent
from ckptaudit.layers.fits import Fit
from ckptaudit.layers.guess import Arguments


class Layer(NamedTuple):
    """One class. Its tensors are `needs`, and some of `may`; any other besides where `may` is None."""

    name: str
    fit: Fit
    needs: frozenset[str]
    may: frozenset[str] | None
    usual: int
    words: frozenset[str]
    unknown: tuple[str, ...]


def _layer(
    name: str, fit: Fit, needs: str, may: str | None = "", *, usual: int, words: str = "", unknown: str = ""
) -> Layer:
    optional = None if may is None else frozenset(may.split())
    return Layer(
        name,
        fit,
        frozenset(needs.split()),
        optional,
        usual,
        frozenset(words.split()),
        tuple(unknown.split()),
    )


_LINEAR = (
    "linear fc mlp ffn proj projection projector dense head heads lm_heads classifier out output gate "
    "patch_embed patch_embedding"
)
_EMBEDDING = (
    "embed embeds embedding embeddings emb embs wte wpe tok token tokens vocab lookup lut table "
    "shared position positions positional pos bias"
)
_AFFINE = "weight bias"
_STATISTICS = "running_mean running_var"
_CONV = "groups stride padding dilation padding_mode"
_TRANSPOSED = "stride padding output_padding dilation"
_LOSS = "loss criterion crit objective ce bce nll"
_BATCH = "bn batchnorm batch_norm"
_INSTANCE = "instancenorm instance_norm instance inorm"
_UP = "deconv deconvs upconv transpose transposed convtranspose conv_transpose deconvolution convt"

LAYERS: tuple[Layer, ...] = (
    _layer("Linear", fits.linear, "weight", "bias", usual=10, words=_LINEAR),
    _layer("Conv1D", fits.conv1d_transformers, "weight bias", usual=2, words="c"),
    _layer("Embedding", fits.embedding, "weight", usual=5, unknown="padding_idx max_norm",
           words=_EMBEDDING),
    _layer("EmbeddingBag", fits.embedding, "weight", usual=1, words="bag embeddingbag",
           unknown="mode padding_idx max_norm"),
    _layer("Conv1d", fits.convolution(1), "weight", "bias", usual=10, unknown=_CONV),
    _layer("Conv2d", fits.convolution(2), "weight", "bias", usual=10, unknown=_CONV),
    _layer("Conv3d", fits.convolution(3), "weight", "bias", usual=10, unknown=_CONV),
    _layer("ConvTranspose1d", fits.transposed(1), "weight", "bias", usual=5, words=_UP, unknown=_TRANSPOSED),
    _layer("ConvTranspose2d", fits.transposed(2), "weight", "bias", usual=5, words=_UP, unknown=_TRANSPOSED),
    _layer("ConvTranspose3d", fits.transposed(3), "weight", "bias", usual=5, words=_UP, unknown=_TRANSPOSED),
    _layer("Bilinear", fits.bilinear, "weight", "bias", usual=3, words="bilinear biaffine"),
    _layer("BatchNorm1d", fits.tracked, _STATISTICS + " num_batches_tracked", _AFFINE, usual=5,
           words=_BATCH, unknown="eps momentum"),
    _layer("BatchNorm2d", fits.tracked, _STATISTICS + " num_batches_tracked", _AFFINE, usual=6,
           words=_BATCH, unknown="eps momentum"),
    _layer("BatchNorm3d", fits.tracked, _STATISTICS + " num_batches_tracked", _AFFINE, usual=4,
           words=_BATCH, unknown="eps momentum"),
    _layer("SyncBatchNorm", fits.tracked, _STATISTICS + " num_batches_tracked", _AFFINE, usual=1,
           words="sync syncbn", unknown="eps momentum"),
    _layer("FrozenBatchNorm2d", fits.frozen, _AFFINE + " " + _STATISTICS, usual=6, unknown="eps"),
    _layer("InstanceNorm1d", fits.tracked, _STATISTICS + " num_batches_tracked", _AFFINE, usual=0,
           words=_INSTANCE, unknown="eps momentum"),
    _layer("InstanceNorm2d", fits.tracked, _STATISTICS + " num_batches_tracked", _AFFINE, usual=1,
           words=_INSTANCE, unknown="eps momentum"),
    _layer("InstanceNorm3d", fits.tracked, _STATISTICS + " num_batches_tracked", _AFFINE, usual=0,
           words=_INSTANCE, unknown="eps momentum"),
    _layer("LayerNorm", fits.layer_norm, "weight", "bias", usual=10, words="ln layernorm layer_norm",
           unknown="eps"),
    _layer("RMSNorm", fits.rms_norm, "weight", usual=14,
           words="rms rmsnorm rms_norm norm layernorm layer_norm", unknown="eps"),
    _layer("GroupNorm", fits.group_norm, "weight", "bias", usual=7, words="gn groupnorm group_norm group",
           unknown="num_groups eps"),
    _layer("BatchNorm1d", fits.tracked, "weight", "bias", usual=-5, words=_BATCH, unknown="eps"),
    _layer("BatchNorm2d", fits.tracked, "weight", "bias", usual=-4, words=_BATCH, unknown="eps"),
    _layer("BatchNorm3d", fits.tracked, "weight", "bias", usual=-5, words=_BATCH, unknown="eps"),
    _layer("SyncBatchNorm", fits.tracked, "weight", "bias", usual=-6, words="sync syncbn", unknown="eps"),
    _layer("InstanceNorm1d", fits.tracked, "weight", "bias", usual=-5, words=_INSTANCE, unknown="eps"),
    _layer("InstanceNorm2d", fits.tracked, "weight", "bias", usual=-4, words=_INSTANCE, unknown="eps"),
    _layer("InstanceNorm3d", fits.tracked, "weight", "bias", usual=-5, words=_INSTANCE, unknown="eps"),
    _layer("PReLU", fits.prelu, "weight", usual=6, words="prelu relu act act_fn activation nonlinearity"),
    _layer("RNN", fits_recurrent.layers(1), "weight_ih_l0 weight_hh_l0", None, usual=10,
           unknown="nonlinearity batch_first"),
    _layer("GRU", fits_recurrent.layers(3), "weight_ih_l0 weight_hh_l0", None, usual=12,
           unknown="batch_first"),
    _layer("LSTM", fits_recurrent.layers(4), "weight_ih_l0 weight_hh_l0", None, usual=12,
           unknown="batch_first"),
    _layer("RNNBase", fits_recurrent.base, "weight_ih_l0 weight_hh_l0", None, usual=0, unknown="batch_first"),
    _layer("RNNCell", fits_recurrent.cell(1), "weight_ih weight_hh", "bias_ih bias_hh", usual=10,
           unknown="nonlinearity"),
    _layer("GRUCell", fits_recurrent.cell(3), "weight_ih weight_hh", "bias_ih bias_hh", usual=10),
    _layer("LSTMCell", fits_recurrent.cell(4), "weight_ih weight_hh", "bias_ih bias_hh", usual=10),
    _layer("RNNCellBase", fits_recurrent.cell_base, "weight_ih weight_hh", "bias_ih bias_hh", usual=0),
    _layer("CrossEntropyLoss", fits.class_weights, "weight", usual=1, words=_LOSS,
           unknown="ignore_index reduction label_smoothing"),
    _layer("NLLLoss", fits.class_weights, "weight", usual=0, words="nll", unknown="ignore_index reduction"),
    _layer("NLLLoss2d", fits.class_weights, "weight", usual=-2, unknown="ignore_index reduction"),
    _layer("MultiMarginLoss", fits.class_weights, "weight", usual=-1, words="margin",
           unknown="p margin reduction"),
    _layer("MultiLabelSoftMarginLoss", fits.any_weights, "weight", usual=-1, words="margin",
           unknown="reduction"),
    _layer("BCELoss", fits.any_weights, "weight", usual=-1, words="bce", unknown="reduction"),
    _layer("BCEWithLogitsLoss", fits.any_weights, "weight", "pos_weight", usual=0, words=_LOSS,
           unknown="reduction"),
    _layer("BCEWithLogitsLoss", fits.any_weights, "pos_weight", usual=10, words=_LOSS, unknown="reduction"),
    _layer("ParameterList", fits.parameter_list, "0", None, usual=10),
)  # fmt: skip


@lru_cache(maxsize=4096)
def named(names: frozenset[str]) -> tuple[Layer, ...]:
    """The layers whose tensors may have these names."""
    return tuple(
        layer
        for layer in LAYERS
        if layer.needs <= names and (layer.may is None or names <= layer.needs | layer.may)
    )


def fitting(shapes: fits.Shapes) -> Iterable[tuple[Layer, Arguments]]:
    """The layers that could own tensors of these names and shapes, with their arguments."""
    tried: dict[Fit, Arguments | None] = {}
    for layer in named(frozenset(shapes)):
        if layer.fit not in tried:
            tried[layer.fit] = layer.fit(shapes)
        arguments = tried[layer.fit]
        if arguments is not None:
            yield layer, arguments
