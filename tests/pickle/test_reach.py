"""Names that a pickle can run without a plain call of them: each way here ran under the C unpickler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptaudit import read
from ckptaudit.limits import Limits
from ckptaudit.readers.pickle.calls import names_behind
from ckptaudit.readers.pickle.machine import run
from ckptaudit.readers.pickle.policy import verdict
from tests.hostile import assemble as a
from tests.hostile import gadgets
from tests.hostile.case import Case
from tests.hostile.containers import torch_zip

SYSTEM = a.name("posix", "system")
LOADS = a.name("torch.storage", "_load_from_bytes")
SPACE = a.name("types", "SimpleNamespace")
FROM_TYPE = a.name("torch._tensor", "_rebuild_from_type_v2")
TENSOR = a.name("torch", "Tensor")


def _reached(body: bytes) -> Iterator[tuple[str, str]]:
    """The dangerous names that a pickle calls, or could."""
    pickled = run(a.whole(body), 0, Limits())
    assert pickled.fault is None
    for found in pickled.globals:
        if found.called and verdict(found.module, found.name) == "dangerous":
            yield found.module, found.name
    for found in names_behind(pickled):
        if found.called and verdict(found.module, found.name) == "dangerous":
            yield found.module, found.name


def _nested(function: bytes) -> bytes:
    inner = a.row(function, TENSOR, a.row(a.text("id")), a.EMPTY_DICT)
    return a.call(FROM_TYPE, FROM_TYPE, TENSOR, inner, a.EMPTY_DICT)


WAYS = {
    "an attribute that a later BUILD calls": lambda name: (
        a.call(SPACE) + a.items(a.text("__setstate__"), name) + a.BUILD + a.text("id") + a.BUILD
    ),
    "an attribute that APPEND calls": lambda name: (
        a.call(SPACE) + a.items(a.text("append"), name) + a.BUILD + a.text("id") + b"a"
    ),
    "an attribute of a class": lambda name: SPACE + a.items(a.text("__setstate__"), name) + a.BUILD,
    "deep in the arguments of a function that calls": _nested,
    "an item of a mapping": lambda name: (
        a.call(a.name("collections", "OrderedDict")) + a.text("forward") + name + b"s"
    ),
    "an object that is popped again": lambda name: (
        a.call(SPACE) + a.items(a.text("__setstate__"), name) + a.BUILD + a.POP + a.NONE
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_name_kept_as_a_value_counts_as_called(way: str) -> None:
    assert ("posix", "system") in set(_reached(WAYS[way](SYSTEM)))


@pytest.mark.parametrize("way", WAYS)
def test_what_would_load_bytes_and_is_kept_as_a_value_is_told(way: str) -> None:
    assert ("torch.storage", "_load_from_bytes()") in set(_reached(WAYS[way](LOADS)))


def test_arguments_that_are_themselves_made_do_not_hide_a_name() -> None:
    made = a.call(a.name("builtins", "tuple"), a.row(SPACE, a.text("__globals__")))
    fetched = a.name("builtins", "getattr") + made + a.REDUCE
    assert ("builtins", "getattr()") in set(_reached(fetched))


@pytest.mark.parametrize(
    "name", ["Sequential.forward", "Module._call_impl", "Module.apply", "Linear.__init__.__globals__"]
)
def test_methods_of_known_classes_are_not_known(name: str) -> None:
    module = "container" if name.startswith("Sequential") else "module"
    assert verdict(f"torch.nn.modules.{module}", name) == "dangerous"


def test_hooks_of_lazy_modules_are_known() -> None:
    assert verdict("torch.nn.modules.linear", "LazyLinear._infer_parameters") == "known"


def test_an_import_that_is_thrown_away_is_not_called() -> None:
    assert not set(_reached(SYSTEM + a.POP + a.NONE))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in gadgets.CASES])
def test_a_gadget_is_told_as_an_error(case: Case, tmp_path: Path) -> None:
    told = _judged(case.build(tmp_path))
    assert set(case.names) <= {name for name, level in told.items() if level in ("dangerous", "function")}


def _judged(path: Path) -> dict[str, str]:
    """How much each name of a file is to be trusted: the verdict, or what an unknown name is used as."""
    told = {}
    for found in read(path).globals:
        judged = verdict(found.module, found.name)
        if judged == "unknown":
            judged = "instance" if found.instance else "function" if found.called else "named"
        elif judged == "dangerous" and not found.called:
            judged = "named"
        told[f"{found.module}.{found.name}"] = judged
    return told


THING, FUNCTION = a.name("lib", "Thing"), a.name("lib", "function")
_SETTINGS = a.items(a.text("a"), FUNCTION)
USES = {
    "NEWOBJ": (THING + a.EMPTY_TUPLE + a.NEWOBJ, "instance"),
    "NEWOBJ of values": (THING + a.row(a.tensor(), a.EMPTY_LIST) + a.NEWOBJ, "instance"),
    "NEWOBJ_EX": (b"\x80\x04" + THING + a.EMPTY_TUPLE + a.EMPTY_DICT + a.NEWOBJ_EX, "instance"),
    "_reconstructor": (
        a.call(a.name("copyreg", "_reconstructor"), THING, a.name("builtins", "object"), a.NONE), "instance"),
    "Python 2's _reconstructor": (
        a.call(a.name("copy_reg", "_reconstructor"), THING, a.name("__builtin__", "object"), a.NONE),
        "instance"),
    "__newobj__": (a.call(a.name("copyreg", "__newobj__"), THING), "instance"),
    "INST": (a.MARK + b"ilib\nThing\n", "instance"),
    "an enum": (a.call(THING, a.number(1)), "instance"),
    "an exception": (a.call(THING, a.text("message"), a.NONE), "instance"),
    "a tuple of scalars": (a.call(THING, a.row(a.number(1), a.number(2))), "instance"),
    "a subclass of Tensor": (a.call(FROM_TYPE, a.name("torch._utils", "_rebuild_tensor_v2"), THING,
                                    a.row(a.storage()), a.EMPTY_DICT), "instance"),
    "a subclass around a tensor": (
        a.call(FROM_TYPE, a.name("torch._utils", "_rebuild_wrapper_subclass"), THING,
               a.row(THING, a.name("torch", "float32")), a.NONE), "instance"),
    "a subclass of an array": (a.call(a.name("numpy.core.multiarray", "_reconstruct"), THING,
                                      a.row(a.number(0)), a.text("b")), "instance"),
    "a value": (a.EMPTY_LIST + THING + a.APPEND, "named"),
    "a keyed value": (a.items(THING, a.NONE), "named"),
    "made and called": (THING + a.EMPTY_TUPLE + a.NEWOBJ + a.POP + a.call(THING, a.EMPTY_LIST), "function"),
    "a list as an argument": (a.call(THING, a.EMPTY_LIST), "function"),
    "an object as an argument": (a.call(THING, a.call(SPACE)), "function"),
    "its attributes set": (THING + a.items(a.text("a"), a.NONE) + a.BUILD, "function"),
}  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_plain_instances_are_told_apart(use: str, tmp_path: Path) -> None:
    body, expected = USES[use]
    assert _judged(_zip(tmp_path, body))["lib.Thing"] == expected


FUNCTIONS = {
    "a value": (a.EMPTY_LIST + FUNCTION + a.APPEND, "named"),
    "an attribute": (THING + a.EMPTY_TUPLE + a.NEWOBJ + _SETTINGS + a.BUILD, "named"),
    "in a partial": (a.call(a.name("functools", "partial"), FUNCTION, a.number(1)), "named"),
    "a factory": (a.call(a.name("collections", "defaultdict"), FUNCTION), "named"),
    "called": (a.call(FUNCTION), "function"),
    "called on a scalar": (a.call(FUNCTION, a.number(1)), "function"),
}


@pytest.mark.parametrize("use", FUNCTIONS)
def test_functions_are_never_instances(use: str, tmp_path: Path) -> None:
    body, expected = FUNCTIONS[use]
    assert _judged(_zip(tmp_path, body))["lib.function"] == expected


def _getattr(owner: bytes, name: str) -> bytes:
    return a.call(a.name("builtins", "getattr"), owner, a.text(name))


FETCHED = {
    "an enum member": (_getattr(THING, "RED"), "lib.Thing.RED", "named"),
    "a bound method": (_getattr(THING + a.EMPTY_TUPLE + a.NEWOBJ, "step"), "lib.Thing.step", "named"),
    "a class inside a class": (
        _getattr(THING, "Inner") + a.EMPTY_TUPLE + a.NEWOBJ, "lib.Thing.Inner", "instance"),
    "an enum inside a class": (a.call(_getattr(THING, "Colour"), a.number(1)), "lib.Thing.Colour",
                               "instance"),
    "a method called": (a.call(_getattr(THING, "step"), a.number(1)), "lib.Thing.step", "function"),
    "an operation of torch": (
        _getattr(a.name("torch._C", "_VariableFunctionsClass"), "relu"),
        "torch._C._VariableFunctionsClass.relu",
        "known"),
    "an attribute of os": (_getattr(a.name("os", "path"), "join"), "os.path.join", "dangerous"),
}  # fmt: skip


@pytest.mark.parametrize("what", FETCHED)
def test_what_is_fetched_is_called_only_where_it_is(what: str, tmp_path: Path) -> None:
    body, name, expected = FETCHED[what]
    assert _judged(_zip(tmp_path, body))[name] == expected


def _zip(folder: Path, body: bytes) -> Path:
    return torch_zip(a.whole(body))(folder)


def test_many_objects_of_unknown_classes_are_quick() -> None:
    body = a.EMPTY_LIST + a.MARK + (THING + a.EMPTY_TUPLE + a.NEWOBJ) * 20_000 + a.APPENDS
    assert run(a.whole(body), 0, Limits()).globals[0].instance
