"""No name, class, setting or shape of a file becomes code."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from ckptaudit.rebuild import plan
from ckptaudit.rebuild.emit import source
from ckptaudit.rebuild.emit.constructor import OUR_OWN
from ckptaudit.rebuild.emit.names import is_attribute
from ckptaudit.rebuild.emit.text import docstring, literal, plain, quoted, told, writable
from ckptaudit.rebuild.known import ROWS
from ckptaudit.rebuild.plan import Part, Plan
from tests.handmade import checkpoint, tensor
from tests.rebuild.emitted import Case, linear, planned, run, strange, tensors, wanted

HOSTILE = (
    '"', "'", '"""', "'''", "\\", '\\"', '"; import os; "', "\n import os", "\r\nimport os",
    "a\u2028import os", "\x0cimport os", "# ", "#", "\x00", "\ud800", "\u202eevil", "é", "名", "{x}",
    "%s", "__class__", "__init__", "forward", "type", "training", "class", "None", "self", "nn",
    "torch", "0", "-1", "lambda", "print", "build", "model", "i", "_", "Skeleton", "extra_state",
    "_extra_state", "_modules", " ", "\t", "a b", 'a\'b"c', "x" * 300, 'f"{__import__(1)}"',
    "weight", "match", "super", "range", "HBlock", "coding: utf-7", "+AAo-import os",
)  # fmt: skip
NAMES = some.one_of(some.sampled_from(HOSTILE), some.text(max_size=6))
PATHS = some.lists(NAMES, min_size=1, max_size=4).map(".".join)
VALUES = some.recursive(
    some.one_of(NAMES, some.integers(), some.floats(), some.booleans(), some.none(), some.binary(max_size=3)),
    lambda inner: some.one_of(some.lists(inner, max_size=3), some.tuples(inner, inner),
                              some.dictionaries(NAMES, inner, max_size=2)),
    max_leaves=4,
)  # fmt: skip
SETTINGS: some.SearchStrategy[Mapping[str, object]] = some.dictionaries(NAMES, VALUES, max_size=3)
LAYERS = some.sampled_from(
    (None, None, "Linear", *ROWS, *OUR_OWN, "os.system", "Linear(1), 2)#", "x\ny", "evil")
)
SHAPES = some.one_of(some.none(), some.lists(some.integers(-1, 5), max_size=3).map(tuple))


@some.composite
def parts(draw: Any, path: str, paths: list[str]) -> Part:
    return Part(
        path,
        draw(LAYERS),
        draw(some.one_of(some.none(), PATHS)),
        draw(some.sampled_from((None, "certain", "likely", "guess"))),
        tuple(draw(some.lists(NAMES, max_size=2))),
        draw(SETTINGS),
        tuple(draw(some.lists(NAMES, max_size=2))),
        tuple(draw(some.lists(some.tuples(NAMES, NAMES), max_size=1))),
        draw(SETTINGS),
        draw(some.sampled_from((None, True, False))),
        tuple(draw(some.lists(NAMES, max_size=1))),
        tuple(draw(some.lists(NAMES, max_size=1))),
        draw(some.sampled_from((None, None, None, *paths))),
    )


@some.composite
def plans(draw: Any) -> Plan:
    paths = draw(some.lists(PATHS, max_size=4, unique=True))
    keys = draw(some.lists(PATHS, max_size=5, unique=True))
    rows = {
        key: tensor(
            key,
            draw(SHAPES),
            str(draw(some.integers(0, 2))),
            dtype=draw(some.one_of(some.sampled_from(("float32", "float16", "int8", "qint8")), NAMES)),
            kind=draw(some.sampled_from(("tensor", "parameter", "buffer", "lazy"))),
            requires_grad=draw(some.booleans()),
            layout=draw(some.one_of(some.just("strided"), NAMES)),
            subclass=draw(some.one_of(some.none(), NAMES)),
        )
        for key in keys
    }
    return Plan(
        draw(NAMES),
        draw(NAMES),
        "typed skeleton",
        {path: draw(parts(path, paths)) for path in ("", *paths)},
        rows,
        {key: row for key, row in zip(draw(some.lists(PATHS, max_size=3)), rows.values(), strict=False)},
        draw(some.dictionaries(PATHS, VALUES, max_size=2)),
        tuple(tuple(group) for group in draw(some.lists(some.lists(PATHS, max_size=3), max_size=2))),
    )


@given(plans())
@settings(max_examples=150, deadline=None)
def test_whatever_a_plan_says_the_source_is_plain(found: Plan) -> None:
    text = source(found)
    assert strange(text) == []
    compile(text, "emitted", "exec")
    assert text == source(found)


@given(NAMES)
def test_comments_and_docstrings_hold_no_line_of_the_file(name: str) -> None:
    for text in (plain(name), told(name)):
        assert text.isascii()
        assert text.isprintable()
        tokens = list(tokenize.generate_tokens(io.StringIO(f"x = 1  # {text}\n").readline))
        kinds = [tokenize.tok_name[token.type] for token in tokens]
        assert kinds == ["NAME", "OP", "NUMBER", "COMMENT", "NEWLINE", "ENDMARKER"]
    lines = "\n".join(docstring([name, "    " + name]))
    compile(lines, "docstring", "eval")
    assert lines.isascii()


@given(VALUES)
def test_literals_are_read_back_as_they_were(value: object) -> None:
    if writable(value) and "float(" not in literal(value):
        assert ast.literal_eval(literal(value)) == value
        assert literal(value).isascii()


def test_odd_literals_compile() -> None:
    for value in (10**5000, -(10**400), float("inf"), float("nan"), "\ud800", [(), [None]]):
        compile(literal(value), "literal", "eval")


def hostile() -> Plan:
    """Tensors and modules of every hostile name, beside and inside each other."""
    shapes = {f"{name}.weight": (2, 3) for name in HOSTILE}
    shapes |= {f"{name}{other}": (2,) for name in HOSTILE[:20] for other in ("", ".x.y", "..z")}
    shapes |= {".".join("a" * 200) + ".weight": (1,)}
    found = plan(checkpoint({(): ("model", shapes)}))
    settings_ = {name: name for name in HOSTILE}
    named = {path: part._replace(cls=f"mod.{path}", layer=None, settings=settings_)
             for path, part in found.parts.items() if not path or path in HOSTILE}  # fmt: skip
    return Plan(HOSTILE[2], '"""', "exact config", {**found.parts, **named}, found.tensors,
                extra={f"{name}._extra_state": 1 for name in HOSTILE})  # fmt: skip


def test_hostile_names_are_data() -> None:
    text = source(hostile())
    assert strange(text) == []
    assert "import os" not in [line.strip() for line in text.splitlines()]


def test_hostile_names_load() -> None:
    pytest.importorskip("torch", reason="runs what is emitted")
    pytest.importorskip("safetensors", reason="the child loads both")
    lone = {
        name: planned([linear(name, 2, 2)], {f"{name}.weight": (2, 2), f"{name}.bias": (2,)})
        for name in HOSTILE
    }
    cases = {"all": hostile(), **{ascii(name): found for name, found in lone.items()}}
    answers = run({name: Case(source(found), found) for name, found in cases.items()})
    for name, found in cases.items():
        assert "error" not in answers[name], (name, answers[name])
        kept = {key: row for key, row in wanted(found).items() if not key.endswith("_extra_state")}
        assert answers[name]["tensors"] == kept, name


def test_names_that_modules_have_are_not_overwritten() -> None:
    torch = pytest.importorskip("torch", reason="has the names")
    nn = torch.nn
    own = {name for make in (nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict) for name in dir(make())}
    assert [name for name in own if is_attribute(name)] == []


def test_long_numbers_and_deep_names() -> None:
    rows = tensors({"a": (10**30,), ".".join("b" * 5000): (2,)})
    text = source(planned(tensors=rows))
    assert strange(text) == []
    assert quoted("x") == '"x"'


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        ("LSTM", {"input_size": 2, "hidden_size": 2, "num_layers": 10**9}),
        ("Linear", {"in_features": 2**30, "out_features": 2**30}),
        ("Linear", {"in_features": 2**90, "out_features": 2}),
        ("Conv2d", {"in_channels": 2, "out_channels": 2, "kernel_size": 1, "padding": "evil"}),
        ("Conv2d", {"in_channels": 2, "out_channels": 2, "kernel_size": 1, "groups": 0}),
        ("GroupNorm", {"num_groups": 0, "num_channels": 2}),
        ("MultiheadAttention", {"embed_dim": 8, "num_heads": 3}),
        ("MultiheadAttention", {"embed_dim": 8, "num_heads": 0}),
    ],
)
def test_calls_that_ask_for_too_much_are_not_written(layer: str, arguments: dict[str, Any]) -> None:
    rows = tensors({"l.weight": (2, 2)})
    parts = {"": Part("", cls="own.Net"), "l": Part("l", layer, f"torch.nn.{layer}", arguments=arguments)}
    text = source(Plan("a.pt", "Net", "exact config", parts, rows))
    assert f"nn.{layer}(" not in text
    made: dict[str, Any] = {}
    exec(compile(text, "model.py", "exec"), made) if _has_torch() else None
    assert not made or set(made["build"]().state_dict()) == set(rows)


def _has_torch() -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None
