from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from ckptaudit.errors import NotFetchedError
from ckptaudit.model import Checkpoint, GlobalRef, ModuleMeta, Problem, Span, StateDict
from ckptaudit.reports.inspect.json import write, write_error
from ckptaudit.reports.inspect.selection import ALL, Selection
from tests.handmade import MLP, checkpoint, gpt2, tensor, training

TEXT: Any = {"type": "string"}
COUNT: Any = {"type": "integer", "minimum": 0}
WHOLE: Any = {"type": "integer"}
MAYBE_TEXT: Any = {"type": ["string", "null"]}
MAYBE_BOOL: Any = {"type": ["boolean", "null"]}
TORCH = ["torch-zip", "torch-legacy", "torch-tar", "torchscript", "torch-export"]
FORMATS = [*TORCH, "safetensors", "sharded", "dcp", None]


def rows(items: Any) -> Any:
    return {"type": "array", "items": items}


def record(**fields: Any) -> Any:
    """An object with these fields, all of them and no others."""
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


# The fields of the schema `ckptaudit.inspect/1`, as its documentation lists them.
SCHEMA = record(
    schema={"const": "ckptaudit.inspect/1"},
    path=TEXT,
    format={"enum": FORMATS},
    bytes={"type": ["integer", "null"]},
    tensors=rows(
        record(
            path=rows({"type": ["string", "integer"]}),
            key=TEXT,
            dtype=TEXT,
            shape={"oneOf": [rows(WHOLE), {"type": "null"}]},
            stride={"oneOf": [rows(WHOLE), {"type": "null"}]},
            offset=WHOLE,
            storage=TEXT,
            device=TEXT,
            kind={"enum": ["parameter", "buffer", "tensor", "lazy"]},
            requires_grad=MAYBE_BOOL,
            layout=TEXT,
            subclass=MAYBE_TEXT,
            nbytes=COUNT,
        )
    ),
    storages=rows(
        record(id=TEXT, nbytes=COUNT, device=TEXT, file=MAYBE_TEXT, start={"type": ["integer", "null"]})
    ),
    ties=rows({**rows(TEXT), "minItems": 2}),
    state_dicts=rows(
        record(
            root=rows({"type": ["string", "integer"]}),
            role={"enum": ["model", "ema", "optimizer", "other"]},
            tensors=COUNT,
        )
    ),
    modules=rows(
        record(
            path=TEXT,
            **{"class": MAYBE_TEXT},
            config={"type": ["object", "null"]},
            training=MAYBE_BOOL,
            layer=MAYBE_TEXT,
            confidence={"enum": ["certain", "likely", "guess", None]},
            alternatives=rows(TEXT),
        )
    ),
    extras={"type": "object"},
    globals=rows(
        record(
            module=TEXT,
            name=TEXT,
            called={"type": "boolean"},
            verdict={"enum": ["known", "unknown", "dangerous"]},
        )
    ),
    problems=rows(
        record(
            code=TEXT,
            detail=TEXT,
            span={"oneOf": [{"type": "null"}, record(file=TEXT, start=COUNT, nbytes=COUNT)]},
        )
    ),
    totals=record(tensors=COUNT, storages=COUNT, parameters=COUNT, bytes_tensors=COUNT, bytes_storages=COUNT),
    weights_only=MAYBE_BOOL,
)


def refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON (RFC 8259)")


def parse(text: str) -> Any:
    """The document, valid by RFC 8259 and by the schema, its fields in the order of the schema."""
    document = json.loads(text, parse_constant=refuse)
    Draft202012Validator(SCHEMA).validate(document)
    assert list(document) == list(SCHEMA["properties"])
    return document


def told(found: Checkpoint, selection: Selection = ALL) -> Any:
    out = io.StringIO()
    write(found, out, selection)
    assert out.getvalue().isascii()
    return parse(out.getvalue())


def only(found: Checkpoint, **fields: Any) -> Any:
    return told(replace(found, **fields))


def mlp() -> Checkpoint:
    return checkpoint({(): ("model", MLP)})


def test_the_schema_refuses_what_it_should() -> None:
    document = told(mlp())
    for broken in ({**document, "more": 1}, {**document, "format": "gguf"}, {**document, "ties": [["one"]]}):
        with pytest.raises(ValidationError):
            Draft202012Validator(SCHEMA).validate(broken)


def test_a_state_dict() -> None:
    document = told(mlp())
    assert document["tensors"][0] == {
        "path": ["hidden.weight"],
        "key": "hidden.weight",
        "dtype": "float32",
        "shape": [256, 20],
        "stride": [20, 1],
        "offset": 0,
        "storage": "0",
        "device": "cpu",
        "kind": "tensor",
        "requires_grad": None,
        "layout": "strided",
        "subclass": None,
        "nbytes": 20480,
    }
    assert document["totals"] == {
        "tensors": 4,
        "storages": 4,
        "parameters": 7946,
        "bytes_tensors": 31784,
        "bytes_storages": 31784,
    }
    assert [module["path"] for module in document["modules"]] == ["", "hidden", "output"]
    assert document["storages"][1] == {
        "id": "1",
        "nbytes": 1024,
        "device": "cpu",
        "file": "made.pt",
        "start": 10**9,
    }


def test_ties_are_named_by_key() -> None:
    assert told(gpt2())["ties"] == [["wte.weight", "lm_head.weight"]]


def test_more_rows_than_one_batch() -> None:
    keys = {f"layer{place}.weight": (place,) for place in range(2500)}
    document = told(checkpoint({(): ("model", keys)}))
    assert [row["key"] for row in document["tensors"]] == list(keys)
    assert [row["shape"][0] for row in document["tensors"]] == list(range(2500))


def test_tensors_of_one_shape_keep_what_is_theirs() -> None:
    base = checkpoint({(): ("model", {"a": (2,), "b": (2,)})})
    held = dict(base.tensors)
    held["b",] = tensor(
        "b", (2,), "1", requires_grad=True, kind="parameter", subclass="mine.T", layout="sparse_coo"
    )
    one, other = only(base, tensors=held)["tensors"]
    assert (one["requires_grad"], one["kind"], one["subclass"], one["layout"]) == (
        None,
        "tensor",
        None,
        "strided",
    )
    assert (other["requires_grad"], other["kind"], other["subclass"]) == (True, "parameter", "mine.T")
    assert other["layout"] == "sparse_coo"


def test_a_training_checkpoint() -> None:
    document = told(training())
    assert document["state_dicts"] == [
        {"root": ["model"], "role": "model", "tensors": 4},
        {"root": ["model_ema"], "role": "ema", "tensors": 4},
        {"root": ["optimizer"], "role": "optimizer", "tensors": 4},
    ]
    assert document["extras"] == {"epoch": 3, "args.lr": 0.001, "optimizer.param_groups.0.lr": 0.1}
    assert {module["path"] for module in document["modules"]} == {"", "hidden", "output"}
    assert document["tensors"][4]["path"] == ["model_ema", "hidden.weight"]


def test_modules_are_named_from_the_root_where_none_is_picked() -> None:
    document = told(checkpoint({("g",): ("model", MLP), ("d",): ("model", MLP), ("o",): ("optimizer", MLP)}))
    paths = ["g", "g.hidden", "g.output", "d", "d.hidden", "d.output"]
    assert [module["path"] for module in document["modules"]] == paths


def test_only_classes_of_torch_are_certain() -> None:
    modules = {
        "a": ModuleMeta("a", "torch.nn.modules.linear.Linear", {"in_features": 2}, False),
        "b": ModuleMeta("b", "mine.Linear"),
        "c": ModuleMeta("c"),
    }
    document = only(mlp(), state_dicts=(StateDict((), "model", modules),))
    told_of = [(row["class"], row["layer"], row["confidence"], row["config"]) for row in document["modules"]]
    assert told_of == [
        ("torch.nn.modules.linear.Linear", "Linear", "certain", {"in_features": 2}),
        ("mine.Linear", None, None, None),
        (None, None, None, None),
    ]


def test_layers_of_a_state_dict_are_inferred() -> None:
    rows = {row["path"]: row for row in told(gpt2())["modules"]}
    assert {rows[path]["layer"] for path in ("h.0.attn.c_attn", "h.11.attn.c_proj")} == {"Conv1D"}
    assert rows["h.0.attn.c_proj"]["alternatives"] == ["Linear"]
    assert [rows[path]["layer"] for path in ("wte", "h.3.ln_1", "lm_head")] == [
        "Embedding",
        "LayerNorm",
        "Linear",
    ]
    assert {row["confidence"] for row in rows.values() if row["layer"]} == {"likely"}
    assert [rows["h"][name] for name in ("class", "layer", "confidence", "alternatives")] == [
        None,
        None,
        None,
        [],
    ]


def test_layers_are_inferred_of_each_model_where_none_is_picked() -> None:
    document = told(checkpoint({("g",): ("model", MLP), ("d",): ("ema", MLP), ("o",): ("optimizer", MLP)}))
    assert [row["layer"] for row in document["modules"]] == [None, "Linear", "Linear"]
    document = told(checkpoint({("g",): ("model", MLP), ("d",): ("model", MLP), ("o",): ("optimizer", MLP)}))
    assert [row["layer"] for row in document["modules"]] == [None, "Linear", "Linear"] * 2


def test_lazy_parameters_have_no_shape() -> None:
    base = checkpoint({(): ("model", {"a": (2,)})})
    (row,) = only(base, tensors={("a",): tensor("a", None, "0", kind="lazy")})["tensors"]
    assert (row["shape"], row["nbytes"], row["kind"]) == (None, 0, "lazy")


def test_problems_and_globals() -> None:
    span = Span("made.pt", 5, 2)
    document = only(
        mlp(),
        problems=(Problem("truncated", "ends early", span, True), Problem("odd", "no place")),
        globals=(
            GlobalRef("os", "system", True, span),
            GlobalRef("torch._utils", "_rebuild_tensor_v2", True, span),
        ),
        weights_only=False,
    )
    assert document["problems"] == [
        {"code": "truncated", "detail": "ends early", "span": {"file": "made.pt", "start": 5, "nbytes": 2}},
        {"code": "odd", "detail": "no place", "span": None},
    ]
    assert [row["verdict"] for row in document["globals"]] == ["dangerous", "known"]
    assert document["weights_only"] is False


def test_include_and_exclude_narrow_tensors_alone() -> None:
    whole, part = told(mlp()), told(mlp(), Selection(("*.weight",), ("output.*",)))
    assert [row["key"] for row in part["tensors"]] == ["hidden.weight"]
    del whole["tensors"], part["tensors"]
    assert part == whole


@pytest.mark.parametrize(
    ("leaf", "written"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (1e300, 1e300),
        (True, True),
        (None, None),
        (2**62, 2**62),
        (10**5000, hex(10**5000)),
        (b"ab", "2 bytes"),
        ((1, [2.5, "x"]), [1, [2.5, "x"]]),
        ({"a": {1: 2}}, {"a": {"1": 2}}),
    ],
    ids=["nan", "infinite", "real", "bool", "none", "large", "huge", "bytes", "tuple", "mapping"],
)
def test_leaves_that_json_has_no_word_for(leaf: object, written: object) -> None:
    assert only(mlp(), extras={("leaf",): leaf})["extras"] == {"leaf": written}


def test_paths_that_read_alike_are_both_there() -> None:
    extras = {("a", "b"): 1, ("a.b",): 2, ("a", 0): 3, ("a", "0"): 4}
    assert sorted(only(mlp(), extras=extras)["extras"].values()) == [1, 2, 3, 4]


def test_deep_leaves_end_somewhere() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert only(mlp(), extras={("deep",): deep})["extras"]["deep"]


@given(st.text(st.characters(codec=None)))
def test_any_name_comes_back_as_it_was(name: str) -> None:
    base = checkpoint({(): ("model", {name: (2,)})})
    document = only(
        base, extras={(name,): name}, state_dicts=(StateDict((), "model", {name: ModuleMeta(name)}),)
    )
    (row,) = document["tensors"]
    assert (row["key"], row["path"]) == (name, [name])
    assert document["extras"] == {name: name}
    assert document["modules"][0]["path"] == name


@pytest.mark.parametrize("bits", [0, 62, 63, 20_000])
def test_sizes_of_any_length_are_written(bits: int) -> None:
    size = -(2**bits)
    base = checkpoint({(): ("model", {"a": (2,)})})
    (row,) = only(base, tensors={("a",): tensor("a", (0,), "0", stride=(size,))})["tensors"]
    assert row["stride"] == ([size] if abs(size) < 2**63 else None)


def test_a_file_that_could_not_be_read() -> None:
    out = io.StringIO()
    write_error("a\udcff.pt", NotFetchedError("a.pt", "a git-LFS pointer"), "a.pt: a git-LFS pointer", out)
    document = parse(out.getvalue())
    assert document["path"] == "a\udcff.pt"
    assert document["format"] is None
    assert document["problems"] == [
        {"code": "not-fetched", "detail": "a.pt: a git-LFS pointer", "span": None}
    ]
    assert document["totals"]["tensors"] == 0
