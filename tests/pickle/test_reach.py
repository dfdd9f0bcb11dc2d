"""Names that a pickle can run without a plain call of them: each way here ran under the C unpickler."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ckptaudit.limits import Limits
from ckptaudit.readers.pickle.calls import names_behind
from ckptaudit.readers.pickle.machine import run
from ckptaudit.readers.pickle.policy import verdict
from tests.hostile import assemble as a

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
    for module, name, _ in names_behind(pickled):
        if verdict(module, name) == "dangerous":
            yield module, name


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
