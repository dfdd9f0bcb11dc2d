"""The names of torch as pickles hold them: what its restricted loader takes, and what else is inert."""

from __future__ import annotations

from typing import Final


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TENSOR_TYPES = ["BFloat16", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short"]
_STORAGE_TYPES = [*_TENSOR_TYPES, "Bool", "ComplexDouble", "ComplexFloat"]
_QUANTIZED_STORAGES = _names("QInt32Storage QInt8Storage QUInt2x4Storage QUInt4x2Storage QUInt8Storage")
DTYPE_NAMES: Final = _names(
    "bfloat16 bits16 bits1x8 bits2x4 bits4x2 bits8 bool complex128 complex32 complex64 float16 float32"
    " float4_e2m1fn_x2 float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
    " int1 int16 int2 int3 int32 int4 int5 int6 int64 int7 int8 qint32 qint8 quint2x4 quint4x2 quint8"
    " uint1 uint16 uint2 uint3 uint32 uint4 uint5 uint6 uint64 uint7 uint8"
)
REBUILD_NAMES: Final = _names(
    "_rebuild_device_tensor_from_cpu_tensor _rebuild_device_tensor_from_numpy"
    " _rebuild_meta_tensor_no_storage _rebuild_nested_tensor _rebuild_parameter"
    " _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_tensor"
    " _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_wrapper_subclass"
)

# What torch.load(weights_only=True) of torch 2.13 accepts with nothing allowed by the user.
WEIGHTS_ONLY: Final[dict[str, frozenset[str]]] = {
    "_codecs": _names("encode"),
    "builtins": _names("bytearray complex set"),
    "collections": _names("Counter OrderedDict"),
    "torch": (
        _names(
            "Size Tensor BoolTensor device per_channel_affine per_channel_affine_float_qparams"
            " per_channel_symmetric per_tensor_affine per_tensor_symmetric"
        )
        | DTYPE_NAMES
        | _QUANTIZED_STORAGES
        | {f"{name}Tensor" for name in _TENSOR_TYPES}
        | {f"{name}Storage" for name in _STORAGE_TYPES}
    ),
    "torch._tensor": _names("_rebuild_from_type_v2"),
    "torch._utils": REBUILD_NAMES,
    "torch.cuda": frozenset(
        [f"{name}Tensor" for name in [*_TENSOR_TYPES, "Bool"]] + [f"{name}Storage" for name in _STORAGE_TYPES]
    ),
    "torch.cuda.sparse": frozenset(f"{name}Tensor" for name in _TENSOR_TYPES),
    "torch.nn.parameter": _names("Parameter"),
    "torch.serialization": _names("_get_layout"),
    "torch.sparse": frozenset(f"{name}Tensor" for name in _TENSOR_TYPES),
    "torch.storage": _names("TypedStorage UntypedStorage"),
}

# torch.nn.Module classes by the file of torch.nn.modules that defines them.
NN_MODULES: Final[dict[str, str]] = {
    "activation": "CELU ELU GELU GLU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU LogSigmoid"
    " LogSoftmax Mish MultiheadAttention PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmax2d Softmin"
    " Softplus Softshrink Softsign Tanh Tanhshrink Threshold",
    "adaptive": "AdaptiveLogSoftmaxWithLoss",
    "batchnorm": "BatchNorm1d BatchNorm2d BatchNorm3d LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d"
    " SyncBatchNorm _BatchNorm _NormBase",
    "channelshuffle": "ChannelShuffle",
    "container": "Container ModuleDict ModuleList ParameterDict ParameterList Sequential",
    "conv": "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d LazyConv1d LazyConv2d"
    " LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d _ConvNd",
    "distance": "CosineSimilarity PairwiseDistance",
    "dropout": "AlphaDropout Dropout Dropout1d Dropout2d Dropout3d FeatureAlphaDropout",
    "flatten": "Flatten Unflatten",
    "fold": "Fold Unfold",
    "instancenorm": "InstanceNorm1d InstanceNorm2d InstanceNorm3d LazyInstanceNorm1d LazyInstanceNorm2d"
    " LazyInstanceNorm3d",
    "linear": "Bilinear Identity LazyLinear Linear NonDynamicallyQuantizableLinear _LinearWithBias",
    "loss": "BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss"
    " HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss MultiLabelMarginLoss"
    " MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss NLLLoss2d PoissonNLLLoss SmoothL1Loss SoftMarginLoss"
    " TripletMarginLoss TripletMarginWithDistanceLoss",
    "module": "Module _WrappedHook",
    "normalization": "CrossMapLRN2d GroupNorm LayerNorm LocalResponseNorm RMSNorm",
    "padding": "CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d"
    " ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d"
    " ZeroPad1d ZeroPad2d ZeroPad3d",
    "pixelshuffle": "PixelShuffle PixelUnshuffle",
    "pooling": "AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d"
    " AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d FractionalMaxPool2d FractionalMaxPool3d LPPool1d"
    " LPPool2d LPPool3d MaxPool1d MaxPool2d MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d",
    "rnn": "GRU GRUCell LSTM LSTMCell RNN RNNBase RNNCell RNNCellBase",
    "sparse": "Embedding EmbeddingBag",
    "transformer": "Transformer TransformerDecoder TransformerDecoderLayer TransformerEncoder"
    " TransformerEncoderLayer",
    "upsampling": "Upsample UpsamplingBilinear2d UpsamplingNearest2d",
}

_FUNCTIONAL = """
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d
    adaptive_max_pool1d_with_indices adaptive_max_pool2d adaptive_max_pool2d_with_indices adaptive_max_pool3d
    adaptive_max_pool3d_with_indices affine_grid alpha_dropout avg_pool1d avg_pool2d avg_pool3d batch_norm
    bilinear binary_cross_entropy binary_cross_entropy_with_logits celu celu_ channel_shuffle conv1d conv2d
    conv3d conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d cosine_embedding_loss
    cosine_similarity cross_entropy ctc_loss dropout dropout1d dropout2d dropout3d elu elu_ embedding
    embedding_bag feature_alpha_dropout feature_dropout fold fractional_max_pool2d
    fractional_max_pool2d_with_indices fractional_max_pool3d fractional_max_pool3d_with_indices
    gaussian_nll_loss gelu glu grid_sample group_norm gumbel_softmax hardshrink hardsigmoid hardswish hardtanh
    hardtanh_ hinge_embedding_loss huber_loss instance_norm interpolate kl_div l1_loss layer_norm leaky_relu
    leaky_relu_ linear local_response_norm log_softmax logsigmoid lp_pool1d lp_pool2d lp_pool3d
    margin_ranking_loss max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d
    max_pool3d_with_indices max_unpool1d max_unpool2d max_unpool3d mish mse_loss multi_head_attention_forward
    multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss native_channel_shuffle nll_loss
    nll_loss2d normalize one_hot pad pairwise_distance pdist pixel_shuffle pixel_unshuffle poisson_nll_loss
    prelu relu relu6 relu_ rms_norm rrelu rrelu_ scaled_dot_product_attention selu selu_ sigmoid silu
    smooth_l1_loss soft_margin_loss softmax softmin softplus softshrink softsign tanh tanhshrink threshold
    threshold_ triplet_margin_loss triplet_margin_with_distance_loss unfold upsample upsample_bilinear
    upsample_nearest
"""
_INIT = """
    calculate_gain constant constant_ dirac dirac_ eye eye_ kaiming_normal kaiming_normal_ kaiming_uniform
    kaiming_uniform_ normal normal_ ones_ orthogonal orthogonal_ sparse sparse_ trunc_normal_ uniform uniform_
    xavier_normal xavier_normal_ xavier_uniform xavier_uniform_ zeros_
"""
# Rebuild functions that weights_only=True does not take: they make a tensor of what they are given.
_REBUILD_MORE = (
    "_rebuild_buffer _rebuild_hpu_tensor _rebuild_mlc_tensor _rebuild_sparse_csr_tensor _rebuild_xla_tensor"
)

# Beside the families below: functions, and classes that stand alone.
INERT_TORCH: Final[dict[str, str]] = {
    "torch": "Generator memory_format contiguous_format channels_last channels_last_3d preserve_format layout"
    " ScriptObject strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc _mkldnn jagged dtype finfo"
    " iinfo qscheme"
    " relu sigmoid tanh softmax log_softmax exp log sin cos abs sqrt square sum mean cat stack matmul add mul"
    " selu celu rrelu prelu",
    "torch._C": "Generator TensorBase _TensorBase _VariableFunctions _VariableFunctionsClass",
    "torch._tensor": "Tensor _rebuild_from_type",
    "torch._utils": _REBUILD_MORE,
    # What _load_from_bytes would load is followed: embedded.py.
    "torch.storage": "_load_from_bytes _LegacyStorage _TypedStorage _UntypedStorage",
    "torch.tensor": "Tensor _TensorBase _rebuild_from_type _rebuild_from_type_v2",
    "torch.functional": "atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors cartesian_prod cdist"
    " chain_matmul einsum meshgrid norm split stft tensordot unique unique_consecutive",
    "torch.amp.grad_scaler": "_refresh_per_optimizer_state",
    "torch.cuda.amp.grad_scaler": "_refresh_per_optimizer_state",
    "torch.autograd.variable": "Variable",
    "torch.autograd.grad_mode": "no_grad enable_grad set_grad_enabled inference_mode",
    "torch.amp.autocast_mode": "autocast",
    "torch.cuda.amp.autocast_mode": "autocast",
    "torch.distributed.device_mesh": "DeviceMesh",
    "torch.distributed.distributed_c10d": "ReduceOp",
    "torch.distributed.remote_device": "_remote_device",
    "torch.fx.immutable_collections": "immutable_dict immutable_list",
    "torch._dynamo.decorators": "_DimRange",
    "torch.nested._internal.nested_tensor": "_rebuild_njt",
    "torch.jit._pickle": "build_boollist build_doublelist build_intlist build_tensor_from_id build_tensorlist"
    " restore_type_tag",
    "torch.nn.backends.thnn": "THNNFunctionBackend _get_thnn_function_backend",
    "torch.nn.functional": _FUNCTIONAL,
    "torch.nn.init": _INIT,
    "torch.nn.parameter": "Buffer UninitializedBuffer UninitializedParameter",
    "torch.torch_version": "TorchVersion",
    "torch.utils.checkpoint": "checkpoint",  # calls what it is given: see policy.calls_back
    "torch.utils.data._utils.collate": "default_collate default_convert",
    "torch.utils.data.dataloader": "default_collate",
    "torch.utils.hooks": "BackwardHook RemovableHandle",
}

# Where every class only holds what it is given: each was looked through for what evaluates, imports or opens.
# Known as long as pickles make plain instances of them.
FAMILIES_TORCH: Final = (
    "torch.amp", "torch.ao.nn", "torch.ao.ns", "torch.ao.pruning", "torch.ao.quantization",
    "torch.autograd.function",
    "torch.cuda.amp", "torch.distributed._shard.metadata",
    "torch.distributed._shard.sharding_plan", "torch.distributed._shard.sharded_tensor",
    "torch.distributed._shard.sharding_spec", "torch.distributed._tensor", "torch.distributed.fsdp",
    "torch.distributed._mesh_layout", "torch.distributed.optim", "torch.distributed.tensor",
    "torch.distributions", "torch.legacy",
    "torch.masked", "torch.nested._internal", "torch.nn", "torch.optim", "torch.profiler.profiler",
    "torch.quantization", "torch.sparse", "torch.utils._pytree", "torch.utils.data",
)  # fmt: skip

# Modules of builtin functions that compute on tensors, and classes that the same are attributes of.
COMPUTING: Final = _names(
    "torch._C._fft torch._C._linalg torch._C._nested torch._C._nn torch._C._sparse torch._C._special"
    " torch.return_types"
)
OPERATIONS: Final = _names("TensorBase _TensorBase _VariableFunctions _VariableFunctionsClass")
NO_OPERATIONS: Final = _names("apply_ from_file map2_ map_ register_hook requires_grad_ set_")

DANGEROUS_TORCH: Final = (
    "torch._C", "torch._custom_op", "torch._custom_ops", "torch._dynamo", "torch._export", "torch._functorch",
    "torch._higher_order_ops", "torch._inductor", "torch._library", "torch._ops", "torch._prims",
    "torch._subclasses", "torch.backends", "torch.compiler", "torch.cpp", "torch.cuda.jiterator",
    "torch.distributed._shard.checkpoint", "torch.distributed.checkpoint", "torch.distributed.elastic",
    "torch.distributed.launcher", "torch.distributed.nn", "torch.distributed.rpc",
    "torch.distributed.tensor.debug", "torch.export", "torch.fx", "torch.hub", "torch.jit", "torch.library",
    "torch.multiprocessing", "torch.onnx", "torch.ops", "torch.package", "torch.serialization",
    "torch.testing", "torch.utils.backcompat", "torch.utils.benchmark", "torch.utils.bottleneck",
    "torch.utils.bundled_inputs", "torch.utils.collect_env", "torch.utils.cpp_extension",
    "torch.utils.data.datapipes", "torch.utils.file_baton", "torch.utils.hipify",
    "torch.utils.mobile_optimizer", "torch.utils.model_dump", "torch.utils.model_zoo",
    "torch.utils.serialization", "torch.utils.tensorboard", "torch.utils.viz",
)  # fmt: skip


def known_of_torch() -> dict[str, frozenset[str]]:
    """The names that are inert, by module."""
    known = dict(WEIGHTS_ONLY)
    for module, names in INERT_TORCH.items():
        known[module] = known.get(module, frozenset()) | _names(names)
    for file, names in NN_MODULES.items():
        known[f"torch.nn.modules.{file}"] = _names(names)
    return known
