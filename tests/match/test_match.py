from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import perf_counter

import pytest

from ckptaudit.blueprint import Blueprint, Expected
from ckptaudit.match import Match, match
from ckptaudit.match.mapping import parse
from ckptaudit.model import Checkpoint, ModuleMeta, StateDict
from ckptaudit.rules.shape_mismatch import shape_mismatch
from ckptaudit.saved import saved
from tests.handmade import Keys, checkpoint, tensor

LAYER: Keys = {"a.weight": (3, 4), "a.bias": (3,)}


def blueprint(keys: Mapping[str, tuple[int, ...] | None], **more: object) -> Blueprint:
    expected = {key: Expected(shape, "float32") for key, shape in keys.items()}
    return replace(Blueprint("made", "Made", expected), **more)  # type: ignore[arg-type]


def compare(
    found: Keys | Checkpoint, wanted: Keys | Blueprint, *maps: str, ties: Mapping[str, str] | None = None
) -> Match:
    held = found if isinstance(found, Checkpoint) else checkpoint({(): ("model", found)}, ties)
    own = wanted if isinstance(wanted, Blueprint) else blueprint(wanted)
    return match(held, saved(held), own, [parse(text) for text in maps])


def test_all_there() -> None:
    found = compare(LAYER, LAYER)
    assert (found.missing, found.unexpected, found.mismatched, found.dtypes) == ((), (), (), ())
    assert found.fitting == tuple(LAYER)
    assert found.after == (0, 0, 0)


def test_missing_and_unexpected_in_order() -> None:
    found = compare({"z": (1,), "b": (2,)}, {"y": (3,), "b": (2,), "a": (4,)})
    assert (found.missing, found.unexpected) == (("y", "a"), ("z",))
    assert found.after == (2, 1, 0)


def test_mapped_keys() -> None:
    found = compare({"x.weight": (3, 4), "x.bias": (3,)}, LAYER, "x=a", "q=r")
    assert (found.missing, found.unexpected, found.unused) == ((), (), ("q=r",))


def test_two_keys_mapped_onto_one_stay_two() -> None:
    found = compare({"module.w": (2,), "w": (2,)}, {"w": (2,)}, "module=")
    assert (found.missing, found.unexpected, found.fitting) == ((), ("module.w",), ("w",))


def test_a_lazy_model_takes_any_shape_and_a_lazy_file_none() -> None:
    assert compare({"w": (5, 5)}, blueprint({"w": None})).mismatched == ()
    lazy = checkpoint({(): ("model", {"w": (1,)})})
    lazy = replace(lazy, tensors={("w",): tensor("w", None, "0", kind="lazy")})
    assert [each.cause for each in compare(lazy, {"w": (5, 5)}).mismatched] == ["lazy"]


def test_dtypes_only_where_shapes_fit() -> None:
    half = checkpoint({(): ("model", {"w": (2,), "v": (3,)})})
    half = replace(half, tensors={k: row._replace(dtype="float16") for k, row in half.tensors.items()})
    found = compare(half, {"w": (2,), "v": (4,)})
    assert [(each.key, each.found.dtype) for each in found.dtypes] == [("w", "float16")]
    assert [each.key for each in found.mismatched] == ["v"]


TIED = {"wte.weight": (5, 2), "lm_head.weight": (5, 2)}
TIES = (("wte.weight", "lm_head.weight"),)


@pytest.mark.parametrize(
    ("held", "ties", "missing", "absent", "diverged"),
    [
        (TIED, {"lm_head.weight": "wte.weight"}, [], [], 0),
        (TIED, None, [], [], 1),
        ({"lm_head.weight": (5, 2)}, None, [], [("wte.weight", "lm_head.weight")], 0),
        ({}, None, ["wte.weight", "lm_head.weight"], [], 0),
        ({key: (0, 2) for key in TIED}, None, [], [], 0),
    ],
)
def test_ties(
    held: Keys, ties: dict[str, str] | None, missing: list[str], absent: list[tuple[str, str]], diverged: int
) -> None:
    found = compare(held, blueprint(TIED, ties=TIES), ties=ties)
    assert (list(found.missing), list(found.absent_ties)) == (missing, absent)
    assert len(found.diverged) == diverged


def test_a_tie_that_is_mapped_is_no_missing_key() -> None:
    found = compare({"module.wte.weight": (5, 2)}, blueprint(TIED, ties=TIES))
    assert found.missing == ("wte.weight", "lm_head.weight")
    assert found.after == (0, 0, 0)
    real = compare({"module.wte.weight": (5, 2)}, blueprint(TIED, ties=TIES), "module=")
    assert (real.missing, real.absent_ties) == ((), (("lm_head.weight", "wte.weight"),))


def test_lazy_ties_do_not_diverge() -> None:
    held = checkpoint({(): ("model", TIED)})
    rows = {path: row._replace(shape=None, kind="lazy") for path, row in held.tensors.items()}
    assert compare(replace(held, tensors=rows), blueprint(TIED, ties=TIES)).diverged == ()


@pytest.mark.parametrize(("version", "tolerated"), [(None, True), (1, True), (2, False)])
def test_counters_of_old_batch_norms(version: int | None, tolerated: bool) -> None:
    held = checkpoint({(): ("model", {"bn.weight": (4,)})})
    modules = {"": ModuleMeta(""), "bn": ModuleMeta("bn", version=version)}
    held = replace(held, state_dicts=(StateDict((), "model", modules),))
    found = compare(held, {"bn.weight": (4,), "bn.num_batches_tracked": ()})
    assert (len(found.tolerated), len(found.missing)) == ((1, 0) if tolerated else (0, 1))


@pytest.mark.parametrize("maps", [[], ["module="]])
def test_extra_state_is_a_key_too(maps: list[str]) -> None:
    prefix = "module." if maps else ""
    held = checkpoint(
        {(): ("model", {f"{prefix}fp8.weight": (2,)})}, extras={(f"{prefix}fp8._extra_state", "a"): 1}
    )
    expected = blueprint({"fp8.weight": (2,)}, other_keys=("fp8._extra_state",))
    found = compare(held, expected, *maps)
    assert (found.missing, found.unexpected, found.after) == ((), (), (0, 0, 0))
    assert compare(held, {"fp8.weight": (2,)}, *maps).unexpected == ("fp8._extra_state",)


def test_what_a_whole_module_keeps_beside_tensors_is_not_known() -> None:
    held = checkpoint({(): ("model", {"weight": (2,)})})
    held = replace(held, state_dicts=(StateDict((), "model", {"": ModuleMeta("", "net.Net")}),))
    rows = {path: row._replace(kind="parameter") for path, row in held.tensors.items()}
    wanted = blueprint({"weight": (2,)}, other_keys=("_extra_state",))
    assert compare(replace(held, tensors=rows), wanted).missing == ()


def test_a_suggestion_that_would_catch_what_fits_is_given_part_by_part() -> None:
    # `=model` would also rename `head.w`, which fits as it is.
    found = compare(
        {"a.w": (2,), "b.w": (3,), "head.w": (4,)}, {"model.a.w": (2,), "model.b.w": (3,), "head.w": (4,)}
    )
    assert {str(each.mapped) for each in found.renames} == {"a=model.a", "b=model.b"}
    assert found.after == (0, 0, 0)


@pytest.mark.parametrize("name", ["a=b", "h.*", ".a", "a."])
def test_names_that_no_mapping_can_say_are_left_alone(name: str) -> None:
    found = compare({f"{name}.w" if name != "a." else "w.a.": (2,)}, {"x.w": (2,)})
    assert found.renames == ()
    assert found.after == (1, 1, 0)


def test_a_resized_head_does_not_hide_what_is_in_front_of_all_names() -> None:
    found = compare(
        {"module.a.w": (2,), "module.b.w": (3,), "module.head.w": (4,)},
        {"a.w": (2,), "b.w": (3,), "head.w": (9,)},
    )
    assert [(str(each.mapped), each.sure) for each in found.renames] == [("module=", "certain")]
    assert found.after == (0, 0, 1)


def test_many_keys_that_are_tied_together() -> None:
    keys = dict.fromkeys((f"a{i}.w" for i in range(20_000)), (2,))
    groups = (tuple(keys)[:10_000], tuple(keys)[10_000:])
    start = perf_counter()
    found = compare({"a9999.w": (2,)}, blueprint(keys, ties=groups))
    assert (len(found.absent_ties), len(found.missing)) == (9_999, 10_000)
    assert perf_counter() - start < 5


def test_mapped_names_keep_their_tensors_and_what_is_refused_is_told() -> None:
    found = compare({"a.w": (2,), "b.w": (3,), "c.w": (4,)}, {"b.w": (3,)}, "a=b", "c=d")
    assert {key: row.shape for key, row in found.rows.items()} == {"a.w": (2,), "b.w": (3,), "d.w": (4,)}
    assert found.refused == (("a.w", "b.w"),)


def test_one_width_change_is_one_finding() -> None:
    def model(width: int) -> Keys:
        return {
            "wte.w": (90, width),
            "ln.w": (width,),
            "c_attn.weight": (3 * width, width),
            "c_attn.bias": (3 * width,),
            "fc.weight": (4 * width, width),
            "fc.bias": (4 * width,),
            "proj.weight": (width, 4 * width),
        }

    (finding,) = shape_mismatch.check(match=compare(model(64), model(48)))
    assert len(finding.keys) == 7
    assert "64 instead of 48" in finding.message
