"""The list of names against torch itself, and against what would make it dangerous."""

from __future__ import annotations

import importlib
import inspect

import pytest

from ckptaudit.readers.pickle.policy import KNOWN, WEIGHTS_ONLY, python3_name, verdict

# In older torch, and gone from 2.13; files of their time still hold them.
_GONE = {
    "torch.nn.modules.linear._LinearWithBias", "torch.tensor.Tensor",
    "torch.tensor._rebuild_from_type_v2",
}  # fmt: skip

# The only plain functions that may be called unseen: each builds a value out of its arguments.
_FUNCTIONS = {
    "_codecs.encode", "copyreg._reconstructor", "copyreg.__newobj__", "copyreg.__newobj_ex__", "re._compile",
    "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar", "numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer",
    "numpy.ma.core._mareconstruct", "numpy.random._pickle.__randomstate_ctor",
    "numpy.random._pickle.__bit_generator_ctor", "numpy.random._pickle.__generator_ctor",
    "numpy.random.bit_generator.__pyx_unpickle_SeedSequence", "torch.serialization._get_layout",
    "torch._tensor._rebuild_from_type_v2", "torch.jit._pickle.build_boollist",
    "torch.storage._load_from_bytes",  # every call of it is followed: embedded.py
    "torch.jit._pickle.build_doublelist",
    "torch.jit._pickle.build_intlist", "torch.jit._pickle.build_tensor_from_id",
    "torch.jit._pickle.build_tensorlist", "torch.jit._pickle.restore_type_tag",
}  # fmt: skip
_FUNCTION_MODULES = ("torch._utils", "torch.nn.functional", "torch._C._nn")


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
        if found is not None and callable(found) and not inspect.isclass(found):
            functions.add(f"{module}.{name}")
    assert {name for name in functions if not name.startswith(_FUNCTION_MODULES)} <= _FUNCTIONS


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
        "operator.attrgetter", "operator.methodcaller", "pkgutil.resolve_name", "builtins.map",
        "builtins.filter",
        "functools.reduce", "types.FunctionType", "types.CodeType", "torch.serialization.os",
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
    "package", ["unknown", "unknown.layers", "my_os", "systems", "osmnx", "evaluate", "torchvision.models"]
)
def test_a_package_is_not_judged_by_its_sound(package: str) -> None:
    assert verdict(package, "Model") == "unknown"


def test_python_2_names_are_mapped_as_pickle_does() -> None:
    assert python3_name("__builtin__", "eval") == ("builtins", "eval")
    assert python3_name("commands", "getoutput") == ("subprocess", "getoutput")
    assert python3_name("torch", "load") == ("torch", "load")
