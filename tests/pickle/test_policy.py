"""The list of names against torch itself, and against what would make it dangerous."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

import pytest

from ckptaudit import read
from ckptaudit.readers.pickle.policy import KNOWN, WEIGHTS_ONLY, python3_name, verdict
from tests.hostile import objects


def _words(text: str) -> set[str]:
    return set(text.split())


# In older torch, and gone from 2.13; files of their time still hold them.
_GONE = {
    "torch._utils._rebuild_buffer",
    "torch._utils._rebuild_hpu_tensor", "torch._utils._rebuild_mlc_tensor",
    "torch._utils._rebuild_sparse_csr_tensor",
    "torch.cuda.amp.grad_scaler._refresh_per_optimizer_state",
    "torch.nn.backends.thnn.THNNFunctionBackend", "torch.nn.functional.feature_dropout",
    "torch.nn.functional.nll_loss2d", "torch.nn.modules.linear._LinearWithBias",
    "torch.storage._TypedStorage", "torch.storage._UntypedStorage",
    "torch.tensor.Tensor", "torch.tensor._TensorBase", "torch.tensor._rebuild_from_type",
    "torch.tensor._rebuild_from_type_v2",
}  # fmt: skip

# The only plain functions that may be called unseen, beside those of the modules that only compute: each
# builds a value out of its arguments, or is followed to what it hands out or calls.
_FUNCTIONS = _words("""
    _codecs.encode copyreg._reconstructor copyreg.__newobj__ copyreg.__newobj_ex__ re._compile
    array._array_reconstructor logging.getLogger builtins.getattr functools.reduce _functools.reduce
    numpy.core.multiarray._reconstruct numpy.core.multiarray.scalar numpy._core.multiarray._reconstruct
    numpy._core.multiarray.scalar numpy.core.numeric._frombuffer numpy._core.numeric._frombuffer
    numpy.core._ufunc_reconstruct numpy.ma.core._mareconstruct numpy.random._pickle.__randomstate_ctor
    numpy.random._pickle.__bit_generator_ctor numpy.random._pickle.__generator_ctor
    numpy.random.bit_generator.__pyx_unpickle_SeedSequence numpy.random.mtrand.__randomstate_ctor
    numpy.random.mtrand._rand torch.serialization._get_layout torch._tensor._rebuild_from_type
    torch._tensor._rebuild_from_type_v2 torch.storage._load_from_bytes
    torch.amp.grad_scaler._refresh_per_optimizer_state
    torch.cuda.amp.grad_scaler._refresh_per_optimizer_state torch.jit._pickle.build_boollist
    torch.jit._pickle.build_doublelist torch.jit._pickle.build_intlist
    torch.jit._pickle.build_tensor_from_id torch.jit._pickle.build_tensorlist
    torch.jit._pickle.restore_type_tag torch.nested._internal.nested_tensor._rebuild_njt
    torch.utils.checkpoint.checkpoint torch.utils.data._utils.collate.default_collate
    torch.utils.data._utils.collate.default_convert torch.utils.data.dataloader.default_collate
    torch.nn.backends.thnn._get_thnn_function_backend
""")
_COMPUTING = _words("""
    _operator builtins math numpy numpy._core._multiarray_umath numpy.core._multiarray_umath operator
    torch torch._C._nn torch._utils torch.functional torch.nn.functional torch.nn.init typing
""")


def _all() -> list[tuple[str, str]]:
    return sorted((module, name) for module, names in KNOWN.items() for name in names)


def test_weights_only_is_torch_s_own_list() -> None:
    pytest.importorskip("torch", reason="the list is torch's")
    from torch._weights_only_unpickler import _get_allowed_globals

    listed = {f"{module}.{name}" for module, names in WEIGHTS_ONLY.items() for name in names}
    # Python 2 names are mapped before they are looked up: see python3_name.
    theirs = set()
    for full in _get_allowed_globals():
        module, _, name = full.rpartition(".")
        theirs.add(".".join(python3_name(module, name)))
    assert listed == theirs


def _found(module: str, name: str) -> object:
    """What the name stands for; None where there is no such module or name."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def test_what_is_known_of_torch_exists() -> None:
    pytest.importorskip("torch", reason="the names are torch's")
    listed = {f"{module}.{name}" for module, names in WEIGHTS_ONLY.items() for name in names}  # tested above
    absent = {
        f"{module}.{name}"
        for module, name in _all()
        if module.startswith("torch") and not _found(module, name)
    }
    assert absent - listed == _GONE


@pytest.mark.parametrize("full", sorted(_GONE))
def test_what_is_gone_is_still_known(full: str) -> None:
    module, _, name = full.rpartition(".")
    assert verdict(module, name) == "known"


def test_known_functions_are_few_and_named() -> None:
    pytest.importorskip("torch", reason="most names are torch's")
    pytest.importorskip("numpy", reason="some names are numpy's")
    functions = set()
    for module, name in _all():
        found = _found(module, name)
        if module not in _COMPUTING and inspect.isroutine(found):
            functions.add(f"{module}.{name}")
    assert functions <= _FUNCTIONS


def _parts(full: str) -> tuple[str, str]:
    module, _, name = full.rpartition(".")
    return module, name


@pytest.mark.parametrize(
    "full",
    [
        "os.system", "posix.system", "nt.system", "subprocess.Popen", "builtins.eval", "builtins.exec",
        "builtins.compile",
        "builtins.__import__", "builtins.open", "runpy.run_path", "pty.spawn", "importlib.import_module",
        "webbrowser.open",
        "torch.hub.load", "torch.load", "torch.jit.load", "numpy.load",
        "numpy.testing._private.utils.runstring", "timeit.timeit", "cProfile.run", "bdb.Bdb",
        "code.interact", "pickle.loads",
        "operator.methodcaller", "pkgutil.resolve_name", "builtins.map", "builtins.filter",
        "builtins.setattr", "builtins.print", "builtins.staticmethod", "itertools.starmap",
        "itertools.accumulate", "io.open", "io.FileIO", "logging.FileHandler", "dataclasses.make_dataclass",
        "collections.namedtuple", "typing.get_type_hints", "string.Templates", "enum.property",
        "weakref.finalize", "contextlib.ExitStack", "copy.deepcopy", "types.FunctionType",
        "types.CodeType", "torch.serialization.os",
        "torch.nn.modules.module.os",
        "torch.utils.cpp_extension.load", "torch._inductor.codecache.compile_file", "pip.main", "ctypes.CDLL",
    ],
)  # fmt: skip
def test_what_runs_code_is_not_known(full: str) -> None:
    assert verdict(*_parts(full)) != "known"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch", "serialization.os.system"), ("torch.nn.modules.linear", "Linear.__init__.__globals__"),
        ("torch.nn.modules.linear", "Linear.forward.__globals__.get"), ("collections",
        "OrderedDict.__reduce__"),
        ("argparse", "Namespace.__class__"), ("torch", "Tensor.__setstate__.__globals__"), ("builtins",
        "set.__subclasses__"),
        ("torch.nn.modules.linear", "os.system"), ("torch.nn.modules.module", "Module.forward.os"),
    ],
)  # fmt: skip
def test_dotted_names_do_not_hide(module: str, name: str) -> None:
    assert verdict(module, name) != "known"


def test_a_name_of_many_dots_is_judged() -> None:
    assert verdict("torch.nn.modules.linear", "Linear" + ".a" * 30_000) == "dangerous"


@pytest.mark.parametrize(
    ("full", "expected"),
    [
        *((f"{package}.Model", "unknown") for package in
          ("unknown", "unknown.layers", "my_os", "systems", "osmnx", "evaluate", "test", "test.models",
           "code",
           "code.nets", "cmd", "trace", "token", "types", "queue", "user", "parser", "types.nets")),
        ("code.InteractiveConsole", "dangerous"), ("types.CodeType", "dangerous"),
        ("test.support.run", "dangerous"), ("test.script_helper.Popen", "dangerous"),
        ("types.nets.act", "unknown"),
        ("cmd.Cmd", "dangerous"), ("trace.Trace", "dangerous"), ("new.function", "dangerous"),
        ("commands.getoutput", "dangerous"), ("popen2.popen2", "dangerous"), ("imp.load_source", "dangerous"),
        ("asyncore.loop", "dangerous"), ("_winreg.OpenKey", "dangerous"),
        ("lib._x__y", "unknown"), ("lib.__pyx_unpickle_Tree", "unknown"), ("lib.__getattr__", "dangerous"),
        ("numpy.random._pcg64.__pyx_unpickle_PCG64", "known"), ("lib.a__b", "unknown"),
        ("lib.Popen", "dangerous"), ("lib.CDLL", "dangerous"), ("lib.function", "unknown"),
        ("torch._C.PyTorchFileWriter", "dangerous"), ("torch.from_file", "dangerous"), ("torch.load",
        "dangerous"),
        ("torch.nn.functional.handle_torch_function", "dangerous"), ("torch.nn.modules.module.os",
        "dangerous"),
        ("torch.nn.modules.of_old.Layer", "known"), ("torch.jitter.Model", "unknown"),
        ("torch.distributed.checkpoint.FileSystemWriter", "dangerous"),
        ("torchvision.models.resnet.ResNet", "known"), ("torchvision.datasets.folder.ImageFolder",
        "dangerous"),
        ("numpy.lib.npyio.DataSource", "dangerous"), ("sympy.core.add.Add", "dangerous"),
        ("pandas.eval", "dangerous"), ("pandas.core.frame.DataFrame", "known"),
        ("transformers.training_args.TrainingArguments", "known"), ("yacs.config.CfgNode", "known"),
        ("pytorch_lightning.utilities.parsing.AttributeDict", "known"),
    ],
)  # fmt: skip
def test_names_are_judged_by_whose_they_are(full: str, expected: str) -> None:
    assert verdict(*_parts(full)) == expected


@pytest.mark.parametrize(
    ("module", "name", "expected"),
    [
        ("torch._C", "_VariableFunctionsClass.relu", "known"), ("torch._C", "TensorBase.__add__", "known"),
        ("torch._C", "_VariableFunctionsClass.from_file", "dangerous"), ("torch._C", "TensorBase.map_",
        "dangerous"),
        ("torch._C", "TensorBase.__init__", "dangerous"), ("torch._C._nn", "gelu", "known"),
        ("torch.distributed.fsdp.api", "ShardingStrategy.FULL_SHARD", "known"),
        ("transformers.trainer_utils", "IntervalStrategy.STEPS", "known"),
        ("transformers.trainer_utils", "IntervalStrategy.steps", "dangerous"),
        ("torch._utils", "torch.channels_last", "known"), ("torch._utils", "torch.load", "dangerous"),
        ("zoneinfo", "ZoneInfo._unpickle", "known"), ("pathlib", "Path.write_text", "dangerous"),
        ("lib", "Outer.Inner", "unknown"), ("lib", "os.system", "dangerous"), ("?", "system", "unknown"),
        ("?", "?", "dangerous"), ("torchvision.models.resnet", "ResNet()", "dangerous"),
        ("torch.nn.modules.linear", "LazyLinear._infer_parameters", "known"),
    ],
)  # fmt: skip
def test_attributes_are_judged_by_what_they_can_be(module: str, name: str, expected: str) -> None:
    assert verdict(module, name) == expected


def test_the_library_of_this_python_is_known_by_name() -> None:
    listed = {name for name in sys.stdlib_module_names if verdict(name, "no_such_function") != "dangerous"}
    assert listed - {"antigravity", "this"} == set()


def test_python_2_names_are_mapped_as_pickle_does() -> None:
    assert python3_name("__builtin__", "eval") == ("builtins", "eval")
    assert python3_name("commands", "getoutput") == ("subprocess", "getoutput")
    assert python3_name("torch", "load") == ("torch", "load")


def _alarms(value: object, folder: Path, protocol: int) -> dict[str, str]:
    """The names that a file of `value` would be refused for, once torch has saved it."""
    torch = pytest.importorskip("torch", reason="the objects are torch's, or saved by it")
    path = folder / "file.pt"
    torch.save({"value": value}, path, pickle_protocol=protocol)
    judged = {
        f"{found.module}.{found.name}": verdict(found.module, found.name)
        for found in read(path).globals
        if not found.instance
    }
    called = {f"{found.module}.{found.name}" for found in read(path).globals if found.called}
    return {
        name: how
        for name, how in judged.items()
        if how == "dangerous" or (how == "unknown" and name in called)
    }


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("made", ["STANDARD", "OWN", "of_numpy", "of_torch"])
def test_honest_objects_raise_no_alarm(made: str, protocol: int, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the objects are torch's, or saved by it")
    values = getattr(objects, made)
    told = {
        name: _alarms(value, tmp_path, protocol)
        for name, value in (values() if callable(values) else values).items()
    }
    assert {name: alarms for name, alarms in told.items() if alarms} == {}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("made", ["STANDARD", "of_numpy", "of_torch"])
def test_what_the_libraries_make_is_known(made: str, protocol: int, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the objects are torch's, or saved by it")
    values = getattr(objects, made)
    unknown = set()
    for value in (values() if callable(values) else values).values():
        torch.save(value, tmp_path / "file.pt", pickle_protocol=protocol)
        unknown |= {(found.module, found.name) for found in read(tmp_path / "file.pt").globals
                    if verdict(found.module, found.name) == "unknown"}  # fmt: skip
    assert unknown - {("tests.hostile.objects", "collate")} == set()


def test_no_family_lets_in_what_is_defined_elsewhere() -> None:
    """A module of a family imports classes too; under its own name for them they are none of the family."""
    torch = pytest.importorskip("torch")
    from ckptaudit.readers.pickle.policy import in_family

    wrong = []
    for module in ("torch.utils.data.dataloader", "torch.ao.quantization.fx.graph_module"):
        importlib.import_module(module)
    loaded = [name for name in list(sys.modules) if name.startswith("torch.")]
    assert torch.__name__ in sys.modules
    assert len(loaded) > 500
    for module in loaded:
        for name, value in list(vars(sys.modules[module]).items()):
            if isinstance(value, type) and in_family(module, name):
                home = verdict(value.__module__, value.__qualname__)
                wrong += [f"{module}.{name}"] if home == "dangerous" else []
    assert wrong == []
