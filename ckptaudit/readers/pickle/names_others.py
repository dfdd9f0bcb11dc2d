"""Packages beside torch and the standard library: what of them is inert, and which run code.

The packages that run code only rank how bad a name is: one that is not known at all is told as well.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMPY_SCALARS = (
    "bool bool_ bool8 bytes_ str_ string_ unicode_ int int0 int8 int16 int32 int64 int_ intc intp uint uint8"
    " uint16 uint32 uint64 uintc uintp byte ubyte short ushort long ulong longlong ulonglong float float16"
    " float32 float64 float_ half single double longdouble float128 complex complex64 complex128 complex_"
    " complex256 csingle cdouble clongdouble datetime64 timedelta64 void object_ number integer generic"
    " floating inexact signedinteger unsignedinteger complexfloating character flexible"
)
_NUMPY_DTYPES = (
    "BoolDType Int8DType Int16DType Int32DType Int64DType UInt8DType UInt16DType UInt32DType UInt64DType"
    " IntDType LongDType LongLongDType ByteDType ShortDType UByteDType UIntDType ULongDType UShortDType"
    " ULongLongDType Float16DType Float32DType Float64DType LongDoubleDType Complex64DType"
    " Complex128DType CLongDoubleDType StrDType BytesDType VoidDType ObjectDType DateTime64DType"
    " TimeDelta64DType StringDType"
)
_NUMPY_FUNCTIONS = (
    "abs absolute add argmax argmin array asarray ceil clip concatenate cos cosh cumsum divide dot exp expm1"
    " floor greater less log log10 log1p log2 max maximum mean median min minimum multiply negative ones"
    " power prod rint round sign sin sinh sqrt square stack std subtract sum tan tanh true_divide var where"
    " zeros"
)
NUMPY_FUNCTIONS: Final = _words(_NUMPY_FUNCTIONS)
_PL_MODULES = ("pytorch_lightning", "lightning", "lightning.pytorch")
_ATTRIBUTE_DICTS = {
    f"{package}.{module}": "AttributeDict"
    for package in (*_PL_MODULES, "lightning_fabric", "lightning.fabric", "lightning_lite", "lightning.lite")
    for module in ("utilities.parsing", "utilities.data", "utilities.types")
}
_SCIPY_SPARSE = "bsr coo csc csr dia dok lil"

INERT_OTHERS: Final[dict[str, str]] = {
    "numpy": f"dtype ndarray matrix recarray record chararray {_NUMPY_SCALARS} {_NUMPY_FUNCTIONS}",
    "numpy.dtypes": _NUMPY_DTYPES,
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray MaskedConstant _mareconstruct",
    "numpy.matrixlib.defmatrix": "matrix",
    "numpy.random": "Generator RandomState",
    "numpy.random._generator": "Generator",
    "numpy.random._pickle": "__randomstate_ctor __bit_generator_ctor __generator_ctor",
    "numpy.random.mtrand": "RandomState __randomstate_ctor _rand",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._sfc64": "SFC64",
    "numpy.rec": "recarray record",
    **{f"numpy.{core}.multiarray": "_reconstruct scalar" for core in ("core", "_core")},
    **{
        f"numpy.{core}._multiarray_umath": f"_reconstruct scalar {_NUMPY_FUNCTIONS}"
        for core in ("core", "_core")
    },
    **{f"numpy.{core}.numeric": "_frombuffer" for core in ("core", "_core")},
    **{f"numpy.{core}.records": "recarray record" for core in ("core", "_core")},
    **{f"numpy.{core}": "_ufunc_reconstruct" for core in ("core", "_core")},  # followed: see calls.py
    "omegaconf.base": "Box Container ContainerMetadata DictKeyType Metadata Node SCMode UnionNode",
    "omegaconf.basecontainer": "BaseContainer",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode BooleanNode BytesNode EnumNode FloatNode IntegerNode InterpolationResultNode"
    " PathNode StringNode ValueNode",
    "omegaconf._utils": "ValueKind",
    **_ATTRIBUTE_DICTS,
    "pandas": "Timedelta Timestamp",
    "pandas._libs.internals": "_unpickle_block",
    "pandas._libs.tslibs.nattype": "_nat_unpickle",
    "pandas._libs.tslibs.timestamps": "Timestamp _unpickle_timestamp",
    "pandas._libs.tslibs.timedeltas": "Timedelta _timedelta_unpickle",
    "pandas.core.frame": "DataFrame",
    "pandas.core.indexes.base": "Index _new_Index",
    "pandas.core.indexes.datetimes": "DatetimeIndex",
    "pandas.core.indexes.multi": "MultiIndex",
    "pandas.core.indexes.numeric": "Float64Index Int64Index UInt64Index",
    "pandas.core.indexes.range": "RangeIndex",
    "pandas.core.internals.managers": "BlockManager SingleBlockManager",
    "pandas.core.series": "Series",
    **{f"scipy.sparse.{kind}": f"{kind}_matrix" for kind in _SCIPY_SPARSE.split()},
    **{f"scipy.sparse._{kind}": f"{kind}_matrix {kind}_array" for kind in _SCIPY_SPARSE.split()},
    "joblib.numpy_pickle": "NumpyArrayWrapper",
}  # fmt: skip

# Where any class only holds what it is given. Known as long as pickles make plain instances of them.
FAMILIES_OTHERS: Final = (
    "absl.flags._exceptions", "accelerate.state", "accelerate.utils.dataclasses", "addict",
    "detectron2.config", "easydict", "fairseq.data.dictionary", "fairseq.dataclass", "fvcore.common.config",
    "lightning.pytorch.callbacks", "lightning.pytorch.utilities.enums", "lightning_fabric.utilities.enums",
    "ml_collections", "mmcv.utils.config", "mmengine.config", "mmengine.logging", "munch", "numpy.polynomial",
    "pytorch_lightning.callbacks", "pytorch_lightning.utilities.enums", "sklearn.preprocessing",
    "tokenizers", "torchvision.models", "torchvision.ops", "torchvision.transforms",
    "torchvision.tv_tensors", "transformers.configuration_utils", "transformers.debug_utils",
    "transformers.generation.configuration_utils", "transformers.integrations.deepspeed",
    "transformers.tokenization_utils_base", "transformers.trainer_callback", "transformers.trainer_pt_utils",
    "transformers.trainer_utils", "transformers.training_args", "transformers.training_args_seq2seq",
    "transformers.utils.generic", "trl.trainer", "yacs",
)  # fmt: skip

# Packages that run programs, evaluate text, load other pickles or talk to a network.
DANGEROUS_PACKAGES: Final = _words("""
    IPython Pyro4 Pyro5 RestrictedPython _pytest aiobotocore aiofiles aiohttp ansible asteval billiard boto3
    botocore bottle celery cffi cherrypy click cloudpickle cloudpickle_fast comtypes cppyy cython dill
    delegator django docker eventlet execnet fabric fastapi flask fsspec gcsfs gevent gradio gunicorn h2
    httpcore httplib2 httpx huggingface_hub hydra_zen invoke ipykernel jinja2 joblib jsonpickle jpype
    keyring kombu kubernetes loky mako multiprocess nose numba numexpr oyaml paramiko pathos pdbpp peewee
    pexpect pip pkg_resources playwright plumbum ppft ptyprocess pudb py py4j pycparser pyppeteer pyspark
    pytest pythoncom pywintypes redis requests requests_toolbelt rpyc ruamel ruyaml s3fs salt scapy selenium
    setuptools sh simpleeval smart_open sqlalchemy streamlit sympy tblib tornado twisted ujson urllib3
    uvicorn werkzeug win32api win32com win32process yaml zmq
""")
DANGEROUS_MODULES: Final = (
    "distributed.protocol", "keras.models", "keras.saving", "keras.src.saving", "nltk.data",
    "numpy.distutils", "numpy.f2py", "numpy.lib", "numpy.testing", "pandas.core.computation", "pandas.io",
    "tensorflow.python.saved_model", "torchvision.datasets", "transformers.agents", "transformers.pipelines",
    "transformers.tools",
)  # fmt: skip
DANGEROUS_NAMES: Final = frozenset(
    {("pandas", "eval"), ("pandas", "read_pickle"), ("psutil", "Popen")}
    | {
        ("transformers", "pipeline"),
        ("keras.layers", "Lambda"),
        ("keras.src.layers.core.lambda_layer", "Lambda"),
    }
)

# Attributes that tell what they are whatever module hands them out: interpreters, processes, modules.
TELLING: Final = _words("""
    CDLL CodeType FunctionType InteractiveConsole InteractiveInterpreter InteractiveShell LambdaType
    ModuleType OleDLL Popen PyDLL Unpickler WinDLL builtins check_call check_output ctypes execfile execve
    execvp getoutput getstatusoutput importlib nt os popen popen2 popen3 posix pty runpy spawnv subprocess sys
""")
# Classes that do something when they are made from text, though many an honest class bears the name.
ACTIVE: Final = _words("""
    Bdb Command Connection Environment FileHandler FileIO FileWriter Interpreter Pdb Pool Process
    ProcessPoolExecutor PyTorchFileWriter Shell SourceFileLoader SummaryWriter TarFile Template Thread
    ThreadPool ThreadPoolExecutor Timer Trace ZipFile
""")
