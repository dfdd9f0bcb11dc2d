from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from ckptaudit.blueprint import Blueprint, Expected, load
from ckptaudit.blueprint.checkpoint import of_checkpoint
from ckptaudit.blueprint.lock import dump
from ckptaudit.errors import CkptAuditError
from ckptaudit.limits import Limits
from tests.handmade import gpt2

NAMES = ["a\nb", 'q"uote', "\x1b[31m", "größe", "\ud800", "a::b", "", "h.10.w", "h.2.w", "*=", "\u202e"]
FIXTURES = Path(__file__).parents[2] / "fixtures"
TEXT = dump(of_checkpoint(gpt2(), "gpt2"))


def written(folder: Path, text: str) -> str:
    path = folder / "weights.lock.json"
    path.write_text(text, encoding="utf-8")
    return str(path)


def hostile() -> Blueprint:
    shapes = [(), (0,), None, (10**30, 0), (1, 2, 3, 4, 5)]
    tensors = {
        name: Expected(shapes[i % 5], ("float8_e4m3fn", "bool")[i % 2]) for i, name in enumerate(NAMES)
    }
    return Blueprint(
        "made", "\x1b]0;x", tensors, ((NAMES[0], NAMES[1]), (NAMES[2], "")), ("z._extra_state", "a")
    )


@pytest.mark.parametrize("made", [hostile(), of_checkpoint(gpt2(), "gpt2"), Blueprint("made", "Empty", {})])
def test_what_is_written_is_read(tmp_path: Path, made: Blueprint) -> None:
    found = load(written(tmp_path, dump(made)))
    assert (found.name, found.tensors) == (made.name, made.tensors)
    assert {frozenset(group) for group in found.ties} == {frozenset(group) for group in made.ties}
    assert sorted(found.other_keys) == sorted(made.other_keys)
    assert dump(found) == dump(made)


@pytest.mark.parametrize("made", [hostile(), of_checkpoint(gpt2(), "gpt2")])
def test_the_order_of_the_file_does_not_count(made: Blueprint) -> None:
    for seed in range(5):
        random = Random(seed)
        rows = random.sample(list(made.tensors.items()), len(made.tensors))
        ties = random.sample([tuple(random.sample(group, len(group))) for group in made.ties], len(made.ties))
        other = tuple(random.sample(made.other_keys, len(made.other_keys)))
        assert dump(replace(made, tensors=dict(rows), ties=tuple(ties), other_keys=other)) == dump(made)


def test_made_for_a_diff() -> None:
    lines = TEXT.splitlines()
    assert TEXT.isascii()
    assert TEXT.endswith("}\n")
    assert '    "wte.weight": "float32 [50257, 768]"' in lines
    assert lines.count('    ["lm_head.weight", "wte.weight"]') == 1
    numbers = [line.split(".")[1] for line in lines if ".ln_1.bias" in line]
    assert numbers == [str(block) for block in range(12)]
    # One tensor and one tie a line, and eight lines around them.
    assert len(lines) == 149 + 1 + 8
    assert list(json.loads(TEXT)) == ["schema", "model", "tensors", "ties"]


def test_every_fixture_that_is_a_reference_makes_a_lock(tmp_path: Path) -> None:
    done = 0
    for path in sorted(FIXTURES.iterdir()):
        try:
            made = load(str(path))
        except CkptAuditError:
            continue
        found = load(written(tmp_path, dump(made)))
        assert (found.tensors, dump(found)) == (made.tensors, dump(made)), path
        done += 1
    assert done > 80


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TEXT[:-3], "no lock file"),
        (TEXT.replace("lock/1", "lock/2"), "a lock file of schema"),
        (TEXT.replace('"tensors": {', '"tensors": 3, "other": {'), "without tensors"),
        (TEXT.replace('"ties"', '"tie"'), "unknown field 'tie'"),
        (TEXT.replace("float32", "flaot32"), "not by a dtype and a shape"),
        (TEXT.replace("[50257, 768]", "[50257 768]"), "not by a dtype and a shape"),
        (TEXT.replace("[50257, 768]", "[-1, 768]"), "not by a dtype and a shape"),
        (TEXT.replace('"float32 [50257, 768]"', "[1]"), "not by a dtype and a shape"),
        (TEXT.replace('["lm_head.weight", "wte.weight"]', '["lm_head.weight", "gone"]'), "a tie of 'gone'"),
        (TEXT.replace('["lm_head.weight", "wte.weight"]', "3"), "ties that are no lists"),
        (TEXT.replace('"ties"', '"other": 3, "ties"'), "without tensors"),
        (TEXT.replace('"h.1.ln_1.bias"', '"h.0.ln_1.bias"'), "'h.0.ln_1.bias' is there twice"),
        (TEXT.replace('"model"', '"x": ' + "[" * 100_000 + ', "model"'), "nested too deeply"),
        (TEXT.replace("GPT", "GPT") + "<<<<<<< HEAD", "no lock file"),
        (TEXT.replace('"gpt2"', '"\udc80"'), "no lock file"),
    ],
)
def test_a_broken_lock_file_is_one_clear_error(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "weights.lock.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(CkptAuditError, match=reason) as caught:
        load(str(path))
    assert caught.value.path == str(path)
    assert "ckptaudit lock" in caught.value.remedy
    assert len(str(caught.value)) < 400 + len(str(path))


def test_limits_hold(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    with pytest.raises(CkptAuditError, match="json_bytes"):
        load(path, replace(Limits(), json_bytes=100))


@pytest.mark.parametrize("name", ["gone.json", ".", "gone.json::model"])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(CkptAuditError):
        load(str(tmp_path / name))


def test_colons_in_the_name_of_a_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "a::b.json"
    path.write_text(TEXT)
    assert load(str(path)).name == "gpt2"
