"""Pickles that make inert parts call what is not: known classes and functions, and a library nobody knows.

`someone.elses.function` stands for any function of any library: HELPERS is one for the tests that prove that
a payload runs.
"""

from __future__ import annotations

from tests.hostile import assemble as a
from tests.hostile.callables import Payload, at_marker, in_zip, shell
from tests.hostile.case import Case

HELPERS = """
import subprocess
from itertools import starmap
from subprocess import Popen

def function(*given):
    for marker in given:
        while isinstance(marker, (list, tuple)) and marker:
            marker = marker[0]
        if isinstance(marker, str):
            open(marker, "w").close()

class Thing:
    run = staticmethod(function)

class Restored:
    def __setstate__(self, marker):
        function(marker)

class Runner:
    def __init__(self, marker):
        function(marker)

class Registry:
    table = {}
"""

_F = a.name("someone.elses", "function")
_THING = a.name("someone.elses", "Thing")
_SPACE = a.call(a.name("types", "SimpleNamespace"))
_GETATTR = a.name("builtins", "getattr")


def _loaded(marker: str) -> bytes:
    """A function without arguments that leaves the marker once it is called."""
    return a.call(a.name("functools", "partial"), _F, a.text(marker))


def _set(target: bytes, **attributes: bytes) -> bytes:
    pairs = (a.text(name) + value for name, value in attributes.items())
    return target + a.items(*pairs) + a.BUILD


def _slots(target: bytes, **attributes: bytes) -> bytes:
    pairs = (a.text(name) + value for name, value in attributes.items())
    return target + a.row(a.NONE, a.items(*pairs)) + a.BUILD


def _made_dict() -> bytes:
    return a.name("collections", "OrderedDict") + a.EMPTY_TUPLE + a.NEWOBJ


def _class(marker: str) -> bytes:
    made = a.call(a.name("builtins", "type"), a.text("X"), a.row(a.name("builtins", "object")),
                  a.items(a.text("__setstate__"), _F))  # fmt: skip
    return made + a.EMPTY_TUPLE + a.NEWOBJ + a.text(marker) + a.BUILD


def _dense(marker: str) -> bytes:
    # The opcodes of a tensor as torch writes them, but for the function, and for what stands in its storage.
    return a.call(_F, a.text(marker), a.number(0), a.row(a.number(4)), a.row(a.number(1)), b"\x89", a.NONE)


def _fetched(owner: bytes, name: str) -> bytes:
    return a.call(_GETATTR, owner, a.text(name))


def _computed(module: bytes, name: bytes) -> Payload:
    return lambda marker: b"\x80\x04" + a.call(module + name + a.STACK_GLOBAL, shell(marker))


def _raw(data: bytes) -> bytes:
    return b"C" + bytes([len(data)]) + data


_SOMEONE = ("someone.elses.function",)
_POSIX = ("posix.system",)
_GADGETS: dict[str, tuple[Payload, tuple[str, ...]]] = {
    "__setstate__ of a namespace": (
        lambda m: _set(_SPACE, __setstate__=_F) + a.text(m) + a.BUILD, _SOMEONE),
    "__setstate__ by slots": (
        lambda m: _slots(_SPACE, __setstate__=_F) + a.text(m) + a.BUILD, _SOMEONE),
    "__setstate__ of a mapping": (
        lambda m: _set(a.call(a.name("collections", "OrderedDict")), __setstate__=_F) + a.text(m) + a.BUILD,
        _SOMEONE),
    "__setstate__ of an unknown class": (
        lambda m: _set(_THING + a.EMPTY_TUPLE + a.NEWOBJ, __setstate__=_F) + a.text(m) + a.BUILD, _SOMEONE),
    "append": (lambda m: _set(_SPACE, append=_F) + a.text(m) + a.APPEND, _SOMEONE),
    "extend": (lambda m: _set(_SPACE, extend=_F) + a.MARK + a.text(m) + a.APPENDS, _SOMEONE),
    "extend below a UserList": (
        lambda m: _set(a.name("collections", "UserList") + a.EMPTY_TUPLE + a.NEWOBJ,
                       data=_set(_SPACE, extend=_F)) + a.text(m) + a.APPEND, _SOMEONE),
    "add": (lambda m: b"\x80\x04" + _set(_SPACE, add=_F) + a.MARK + a.text(m) + a.ADDITEMS, _SOMEONE),
    "a partial as a hook": (
        lambda m: _set(_SPACE, __setstate__=_loaded(m)) + a.text("") + a.BUILD, _SOMEONE),
    "a method as a hook": (
        lambda m: _set(_SPACE, __setstate__=_fetched(_THING, "run")) + a.text(m) + a.BUILD,
        ("someone.elses.Thing.run",)),
    "keys of what becomes a mapping": (
        lambda m: a.call(a.name("collections", "OrderedDict"), _set(_SPACE, keys=_loaded(m))), _SOMEONE),
    "iter until": (
        lambda m: a.call(a.name("builtins", "list"), a.call(a.name("builtins", "iter"), _loaded(m), a.NONE)),
        _SOMEONE),
    "_reconstructor": (
        lambda m: a.call(a.name("copyreg", "_reconstructor"), a.name("someone.elses", "Runner"),
                         a.name("someone.elses", "Runner"), a.text(m)), ("someone.elses.Runner",)),
    "numpy's constructor": (
        lambda m: a.call(a.name("numpy.random._pickle", "__generator_ctor"), a.text(m), _F), _SOMEONE),
    "numpy's universal functions": (
        lambda m: a.call(a.call(a.name("numpy.core", "_ufunc_reconstruct"), a.text("os"), a.text("system")),
                         shell(m)), ("os.system",)),
    "torch's rebuild function": (
        lambda m: a.call(a.name("torch._tensor", "_rebuild_from_type_v2"), _F, a.name("torch", "Tensor"),
                         a.row(a.text(m)), a.items()), _SOMEONE),
    "torch's rebuild function in itself": (
        lambda m: a.call(a.name("torch._tensor", "_rebuild_from_type_v2"),
                         a.name("torch._tensor", "_rebuild_from_type_v2"), a.name("torch", "Tensor"),
                         a.row(_F, a.name("torch", "Tensor"), a.row(a.text(m)), a.items()), a.items()),
        _SOMEONE),
    "checkpointing": (
        lambda m: a.call(a.name("torch.utils.checkpoint", "checkpoint"), _F, a.text(m)), _SOMEONE),
    "a computed module": (
        _computed(a.call(a.name("builtins", "str"), _raw(b"posix"), a.text("ascii")), a.text("system")),
        ("?.system",)),
    "a computed name": (
        _computed(a.text("posix"), a.call(a.name("operator", "add"), a.text("sys"), a.text("tem"))),
        ("posix.?",)),
    "a method": (lambda m: a.call(_fetched(_THING, "run"), a.text(m)), ("someone.elses.Thing.run",)),
    "attrgetter": (
        lambda m: a.call(a.call(a.call(a.name("operator", "attrgetter"), a.text("run")), _THING), a.text(m)),
        ("someone.elses.Thing.run()",)),
    "attrgetter by torch": (
        lambda m: a.call(a.name("torch._tensor", "_rebuild_from_type_v2"),
                         a.call(a.name("operator", "attrgetter"), a.text("run")), a.name("torch", "Tensor"),
                         a.row(_THING), a.items()), ("operator.attrgetter()",)),
    "itemgetter": (
        lambda m: a.call(a.call(a.call(a.name("operator", "itemgetter"), a.text("x")),
                                a.items(a.text("x"), _F)), a.text(m)), ("?.x()",)),
    "getitem": (
        lambda m: a.call(a.call(a.name("_operator", "getitem"), a.items(a.text("x"), _F), a.text("x")),
                         a.text(m)), ("_operator.getitem()",)),
    "getitem of what makes its own": (
        lambda m: a.call(a.name("_operator", "getitem"),
                         a.call(a.name("collections", "defaultdict"), _loaded(m)), a.text("x")),
        ("_operator.getitem()",)),
    "reduce": (
        lambda m: a.call(a.name("functools", "reduce"), _F, a.row(a.text(m), a.NONE)),
        ("functools.reduce()",)),
    "a class of the file's own": (_class, ("builtins.type()",)),
    "a class made as an enum": (
        lambda m: a.call(a.name("enum", "Enum"), a.text("X"),
                         a.EMPTY_LIST + a.row(a.text("__setstate__"), _F) + a.APPEND)
        + a.text(m) + a.BUILD, _SOMEONE),
    "a mapping of attributes": (
        lambda m: a.call(a.name("lightning.fabric.utilities.data", "AttributeDict"))
        + a.text("append") + _F + a.SETITEM + a.text(m) + a.APPEND, _SOMEONE),
    "a metaclass": (
        lambda m: a.call(a.name("abc", "ABCMeta"), a.text("X"), a.EMPTY_TUPLE,
                         a.items(a.text("__setstate__"), _F)) + a.text(m) + a.BUILD, ("abc.ABCMeta",)),
    "attributes of a logger": (
        lambda m: _set(a.call(a.name("logging", "getLogger"), a.text("x")), __setstate__=_F)
        + a.text(m) + a.BUILD, _SOMEONE),
    "a hook on a class": (
        lambda m: _slots(_THING, __setstate__=_fetched(_THING, "run")) + a.POP
        + _THING + a.EMPTY_TUPLE + a.NEWOBJ + a.text(m) + a.BUILD, ("someone.elses.Thing.run",)),
    "a process under another name": (
        lambda m: a.call(a.name("someone.elses", "Popen"), a.row(a.text("touch"), a.text(m))),
        ("someone.elses.Popen",)),
    "a module under another name": (
        lambda m: b"\x80\x04" + a.call(a.text("someone.elses") + a.text("subprocess.getoutput")
                                       + a.STACK_GLOBAL, shell(m)),
        ("someone.elses.subprocess.getoutput",)),
    "a class with what is no scalar": (
        lambda m: a.call(a.name("someone.elses", "Runner"), a.EMPTY_LIST + a.text(m) + a.APPEND),
        ("someone.elses.Runner",)),
    "INST of a function": (lambda m: a.MARK + a.text(m) + b"isomeone.elses\nfunction\n", _SOMEONE),
    "OBJ of a function": (lambda m: a.MARK + _F + a.text(m) + a.OBJ, _SOMEONE),
    "arguments like a tensor's": (_dense, _SOMEONE),
    "a class of torch with arguments": (
        lambda m: a.call(a.name("torchvision.models.resnet", "ResNet"), _loaded(m), a.EMPTY_LIST),
        ("torchvision.models.resnet.ResNet()",)),
    "a library with a text": (
        lambda m: a.call(a.name("sympy", "sympify"), a.text(f"open({m!r}, 'w')")), ("sympy.sympify",)),
    "a text to somebody's __setstate__": (
        lambda m: a.name("someone.elses", "Restored") + a.EMPTY_TUPLE + a.NEWOBJ + a.text(m) + a.BUILD,
        ("someone.elses.Restored",)),
    "a list of what calls": (
        lambda m: a.call(a.name("builtins", "list"), a.name("someone.elses", "starmap")
                         + a.row(_F, a.call(a.name("builtins", "list"), a.row(a.row(a.text(m))))) + a.NEWOBJ),
        ("someone.elses.starmap", *_SOMEONE)),
    "a method of an element": (
        lambda m: a.call(
            a.name("numpy", "sqrt"), a.EMPTY_LIST + _set(_made_dict(), sqrt=_loaded(m)) + a.APPEND),
        ("numpy.sqrt()",)),
    "items set after the state": (
        lambda m: _set(a.name("someone.elses", "Thing") + a.EMPTY_TUPLE + a.NEWOBJ, append=_F)
        + a.text(m) + a.APPEND,
        _SOMEONE),
    "a class by way of another module": (
        lambda m: a.name("torch.utils.data.dataloader", "_IterDataPipeSerializationWrapper")
        + a.EMPTY_TUPLE + a.NEWOBJ + a.text(m) + a.BUILD,
        ("torch.utils.data.dataloader._IterDataPipeSerializationWrapper",)),
    "a class of a family, called by a function": (
        lambda m: a.call(a.name("torch.utils.checkpoint", "checkpoint"),
                         a.name("torchvision.models.resnet", "ResNet"), _loaded(m), a.EMPTY_LIST),
        ("torchvision.models.resnet.ResNet()",)),
    "a store that is a file": (
        lambda m: a.call(a.name("torch.distributed", "FileStore"), a.text("executed")),
        ("torch.distributed.FileStore",)),
    "a program of the standard library": (
        lambda m: a.name("test.autotest", "Foo"), ("test.autotest.Foo",)),
    "the file's own graph": (
        lambda m: a.call(a.name("torch.fx.graph_module", "reduce_graph_module"), a.items(), a.text("")),
        ("torch.fx.graph_module.reduce_graph_module",)),
}  # fmt: skip

CASES = tuple(
    Case(f"gadget: {how}", "payload", at_marker(payload, in_zip), names, names)
    for how, (payload, names) in _GADGETS.items()
)
# Those that only run with a library that the tests do without, or under torch.
UNPROVEN = (
    "a class by way of another module",
    "a class of a family, called by a function",
    "a store that is a file",
    "a program of the standard library",
    "a mapping of attributes",
    "a class of torch with arguments",
    "attrgetter by torch",
    "the file's own graph",
)
