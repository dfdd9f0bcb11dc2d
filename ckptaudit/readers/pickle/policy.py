"""Names that pickles import, as data: what is inert, what runs code, and everything else.

`KNOWN` is an allow-list: what torch's weights_only loader accepts (torch 2.13,
`torch/_weights_only_unpickler.py`), modules, optimizers and functions of torch itself that compute and
nothing else, and inert types of the standard library and numpy. `DANGEROUS` only ranks how bad a name
outside that list is. Names, never objects: nothing is imported to look at it.
"""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from typing import Final, Literal

Verdict = Literal["known", "unknown", "dangerous"]


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
_NN_MODULES: Final[dict[str, str]] = {
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

_NUMPY_SCALARS = (
    "bool bool_ bytes_ str_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 longlong ulonglong float16"
    " float32 float64 longdouble complex64 complex128 clongdouble datetime64 timedelta64 void object_"
)
_NUMPY_DTYPES = (
    "BoolDType Int8DType Int16DType Int32DType Int64DType UInt8DType UInt16DType UInt32DType UInt64DType"
    " LongLongDType ULongLongDType Float16DType Float32DType Float64DType LongDoubleDType Complex64DType"
    " Complex128DType CLongDoubleDType StrDType BytesDType VoidDType ObjectDType DateTime64DType"
    " TimeDelta64DType StringDType"
)

# Inert: types that only hold what they are given, and functions that only compute on it.
_INERT: Final[dict[str, str]] = {
    "argparse": "Namespace",
    "builtins": "bool bytes dict float frozenset int list object range slice str tuple NoneType Ellipsis",
    "collections": "ChainMap UserDict UserList UserString defaultdict deque",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "datetime": "date datetime time timedelta timezone tzinfo",
    "decimal": "Decimal",
    "enum": "Enum IntEnum Flag IntFlag StrEnum",
    "fractions": "Fraction",
    "functools": "partial",
    "ipaddress": "IPv4Address IPv6Address",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "pathlib._local": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "re": "_compile",
    "types": "SimpleNamespace MappingProxyType",
    "typing": "Any",
    "uuid": "UUID SafeUUID",
    "numpy": f"dtype ndarray {_NUMPY_SCALARS}",
    "numpy.dtypes": _NUMPY_DTYPES,
    "numpy.core.multiarray": "_reconstruct scalar",
    "numpy._core.multiarray": "_reconstruct scalar",
    "numpy.core.numeric": "_frombuffer",
    "numpy._core.numeric": "_frombuffer",
    "numpy.ma.core": "_mareconstruct MaskedArray",
    "numpy.random": "RandomState Generator",
    "numpy.random._pickle": "__randomstate_ctor __bit_generator_ctor __generator_ctor",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode BooleanNode BytesNode EnumNode FloatNode IntegerNode PathNode StringNode",
    "torch": "Generator memory_format contiguous_format channels_last preserve_format strided sparse_coo",
    "torch._C": "Generator _TensorBase TensorBase",
    "torch._C._nn": "gelu linear hardtanh softplus",
    "torch._tensor": "Tensor",
    "torch.storage": "_load_from_bytes",  # embedded.py reads what it would load, and notes the names in it
    "torch.tensor": "Tensor _rebuild_from_type_v2",
    "torch.distributed.device_mesh": "DeviceMesh",
    "torch.distributed._tensor.api": "DTensor",
    "torch.distributed._tensor.placement_types": "DTensorSpec Partial Replicate Shard TensorMeta",
    "torch.distributed.tensor": "DTensor",
    "torch.distributed.tensor._api": "DTensor",
    "torch.distributed.tensor._dtensor_spec": "DTensorSpec TensorMeta",
    "torch.distributed.tensor.placement_types": "Partial Replicate Shard",
    "torch.jit._pickle": "build_boollist build_doublelist build_intlist build_tensor_from_id build_tensorlist"
    " restore_type_tag",
    "torch.nn.functional": "celu elu gelu glu hardsigmoid hardswish hardtanh leaky_relu log_softmax"
    " logsigmoid mish relu relu6 relu_ selu sigmoid silu softmax softplus softsign tanh cross_entropy"
    " mse_loss"
    " nll_loss",
    "torch.nn.parameter": "Buffer UninitializedBuffer UninitializedParameter",
    "torch.nn.utils.spectral_norm": "SpectralNorm SpectralNormLoadStateDictPreHook SpectralNormStateDictHook",
    "torch.nn.utils.weight_norm": "WeightNorm",
    "torch.nn.utils.parametrizations": "_Orthogonal _SpectralNorm _WeightNorm",
    "torch.nn.utils.parametrize": "ParametrizationList",
    "torch.nn.parallel.data_parallel": "DataParallel",
    "torch.nn.parallel.distributed": "DistributedDataParallel",
    "torch.nn.utils.prune": "CustomFromMask Identity L1Unstructured LnStructured PruningContainer"
    " RandomStructured RandomUnstructured",
    "torch.optim": "Adafactor Muon",
    "torch.optim.swa_utils": "AveragedModel",
    "torch.utils.hooks": "RemovableHandle",
    "torch.optim.adadelta": "Adadelta",
    "torch.optim.adagrad": "Adagrad",
    "torch.optim.adam": "Adam",
    "torch.optim.adamax": "Adamax",
    "torch.optim.adamw": "AdamW",
    "torch.optim.asgd": "ASGD",
    "torch.optim.nadam": "NAdam",
    "torch.optim.optimizer": "Optimizer _RequiredParameter",
    "torch.optim.radam": "RAdam",
    "torch.optim.rmsprop": "RMSprop",
    "torch.optim.rprop": "Rprop",
    "torch.optim.sgd": "SGD",
    "torch.optim.sparse_adam": "SparseAdam",
    "torch.optim.lr_scheduler": "ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR"
    " ExponentialLR LambdaLR LinearLR MultiStepLR MultiplicativeLR OneCycleLR PolynomialLR"
    " ReduceLROnPlateau SequentialLR StepLR",
    "torch.torch_version": "TorchVersion",
}


def _union() -> dict[str, frozenset[str]]:
    known = dict(WEIGHTS_ONLY)
    for module, names in _INERT.items():
        known[module] = known.get(module, frozenset()) | _names(names)
    for file, names in _NN_MODULES.items():
        known[f"torch.nn.modules.{file}"] = _names(names)
    return known


KNOWN: Final = _union()

# Modules that reach processes, files, networks, other code or the interpreter itself.
_DANGEROUS_MODULES: Final = _names(
    "os posix nt ntpath posixpath subprocess _posixsubprocess sys shutil socket _socket ssl http urllib"
    " urllib2 requests httpx aiohttp ftplib smtplib telnetlib poplib imaplib nntplib webbrowser socketserver"
    " xmlrpc ctypes _ctypes cffi importlib _frozen_importlib _frozen_importlib_external imp runpy pkgutil"
    " zipimport code codeop pdb bdb trace timeit cProfile _lsprof profile doctest pty tty platform"
    " multiprocessing _multiprocessing threading _thread asyncio concurrent signal _signal tempfile pickle"
    " _pickle"
    " cPickle pickletools dill cloudpickle joblib marshal shelve dbm sqlite3 operator _operator inspect gc"
    " atexit site venv ensurepip pip distutils setuptools pydoc idlelib lib2to3 logging linecache fileinput"
    " glob io _io codecs mmap resource faulthandler tracemalloc weakref _weakref builtins types functools"
    " itertools uuid test unittest rlcompleter cmd commands sched nturl2path aifc compileall py_compile"
    " mailcap crypt ast symtable _aix_support _osx_support _pyrepl"
)
_DANGEROUS_PREFIXES: Final = (
    "torch.hub",
    "torch.jit",
    "torch.package",
    "torch.serialization",
    "torch.utils.benchmark",
    "torch.utils.bottleneck",
    "torch.utils.bundled_inputs",
    "torch.utils.collect_env",
    "torch.utils.cpp_extension",
    "torch.utils.data.datapipes",
    "torch.utils.mobile_optimizer",
    "torch.utils.model_zoo",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.rpc",
    "torch.fx",
    "torch.testing",
    "numpy.testing",
    "numpy.f2py",
    "numpy.distutils",
    "numpy.lib",
)
_DANGEROUS_NAMES: Final = frozenset(
    {("torch", "load"), ("torch", "save"), ("torch", "compile"), ("numpy", "load"), ("numpy", "fromfile")}
    | {
        ("numpy", "memmap"),
        ("pandas", "eval"),
        ("pandas", "read_pickle"),
        ("pandas.io.pickle", "read_pickle"),
    }
)

# Calls that hand out something else: calls.py and embedded.py follow them, and where they lead is judged.
RESOLVERS: Final = frozenset(
    {("pkgutil", "resolve_name"), ("pydoc", "locate"), ("importlib", "import_module")}
)
GETTERS: Final = (
    frozenset({("torch.storage", "_load_from_bytes")})
    | frozenset(
        (module, name) for module in ("operator", "_operator") for name in ("attrgetter", "methodcaller")
    )
    | {("builtins", "getattr")}
    | RESOLVERS
)


_LAZY_METHODS: Final = _names("_infer_parameters _lazy_load_hook")  # which lazy modules keep as hooks

# Known functions that call, or make an object of, a class or function that they are given.
_CALL_BACK: Final = frozenset(
    {("torch._tensor", "_rebuild_from_type_v2"), ("torch.tensor", "_rebuild_from_type_v2")}
    | {
        ("torch._utils", "_rebuild_wrapper_subclass"),
        ("functools", "partial"),
        ("collections", "defaultdict"),
    }
    | {("copyreg", name) for name in ("_reconstructor", "__newobj__", "__newobj_ex__")}
    | {("numpy.random._pickle", f"__{name}_ctor") for name in ("randomstate", "bit_generator", "generator")}
    | {(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
    | {("numpy.ma.core", "_mareconstruct"), ("builtins", "getattr")}
)


def calls_back(module: str, name: str) -> bool:
    """Whether `module.name` may call what it is given: some known functions do, all unknown ones may."""
    return (module, name) in _CALL_BACK or verdict(module, name) != "known"


def accepted_by_torch(module: str, name: str) -> bool:
    """Whether torch.load(weights_only=True) imports the name without being told to allow it."""
    module, name = python3_name(module, name)
    return name in WEIGHTS_ONLY.get(module, ())


def verdict(module: str, name: str) -> Verdict:
    """How far `module.name` can be trusted when a pickle imports or calls it.

    `getattr` counts as known: what it fetches is listed, and judged, as a name of its own.
    """
    if name in KNOWN.get(module, ()) or (module, name) == ("builtins", "getattr"):
        return "known"
    owner, _, method = name.rpartition(".")
    if module.startswith("torch.nn.modules.") and owner in KNOWN.get(module, ()) and method in _LAZY_METHODS:
        return "known"
    if owner and (module in KNOWN or module.partition(".")[0] in ("torch", "numpy")):
        return "dangerous"  # an attribute of what is known may be anything: a method, a module it imports
    if module.partition(".")[0] in _DANGEROUS_MODULES or (module, name) in _DANGEROUS_NAMES:
        return "dangerous"
    if module.startswith(_DANGEROUS_PREFIXES) or "__" in name or name.endswith("()"):
        return "dangerous"
    return "unknown"


def python3_name(module: str, name: str) -> tuple[str, str]:
    """The name that Python 3 imports for one written by Python 2: `_pickle` maps it below protocol 3."""
    if (module, name) in NAME_MAPPING:
        return NAME_MAPPING[module, name]
    return IMPORT_MAPPING.get(module, module), name
