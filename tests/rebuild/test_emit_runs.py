"""Emitted source in a fresh process: it has the tensors of the file, takes them, and computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptaudit import read
from ckptaudit.errors import CkptAuditError
from ckptaudit.rebuild import plan
from ckptaudit.rebuild.emit import source

pytest.importorskip("torch", reason="runs what is emitted")
pytest.importorskip("safetensors", reason="loads fixtures")

import torch

from tests.oracle import FIXTURES
from tests.rebuild.emitted import Case, run, strange, wanted
from tests.rebuild.zoo import CASES

# No tensors in them that torch gives under the paths that we have, or none that can be copied.
NOT_LOADED = {
    *("containers.pt", "protocol5.pt", "devices_mps.pt", "meta.pt", "dtensor.pt", "subclasses.pt"),
    *("lfs_pointer.pt", "from_numpy.pt"),
}


def planned(path: Path) -> Any:
    try:
        return plan(read(str(path)))
    except CkptAuditError:
        return None


@pytest.fixture(scope="module")
def fixtures() -> tuple[dict[str, Case], dict[str, Any]]:
    cases = {}
    for path in sorted(FIXTURES.iterdir()):
        is_known = path.suffix in (".pt", ".safetensors", ".params", ".pt2", ".pkl") or "sharded" in path.name
        found = planned(path) if is_known else None
        if found is None:
            continue
        loads = path.suffix not in (".pt2", ".pkl", "") and "torchscript" not in path.name
        file = path if loads and path.name not in NOT_LOADED else None
        cases[path.name] = Case(source(found), found, file)
    return cases, run(cases)


def test_fixtures_keep_their_tensors_and_load_strictly(fixtures: Any) -> None:
    cases, answers = fixtures
    assert len(cases) > 100
    assert {name: answer["error"] for name, answer in answers.items() if "error" in answer} == {}
    assert {name for name, case in cases.items() if case.file} == {
        name for name, answer in answers.items() if answer.get("loaded")
    }
    for name, case in cases.items():
        assert answers[name]["tensors"] == wanted(case.plan), name


def test_full_models_keep_flags_ties_and_shared_modules(fixtures: Any) -> None:
    _, answers = fixtures
    full = {name: answer for name, answer in answers.items() if "original" in answer}
    assert len(full) > 20
    for name, answer in full.items():
        assert answer["original"] == {key: answer[key] for key in answer["original"]}, name


def test_fixtures_are_emitted_as_plain_source(fixtures: Any) -> None:
    for name, case in fixtures[0].items():
        assert strange(case.source) == [], name
        assert case.source == source(case.plan), name


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Case], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("zoo")
    cases = {}
    for name, case in CASES.items():
        module = case.module()
        whole, state, inputs = (folder / f"{name}.{suffix}" for suffix in ("pt", "state.pt", "inputs"))
        torch.save(module, whole)
        if case.inputs is not None:
            # Not what torch.load makes of the file: a decoder layer with a module for activation gets relu.
            torch.save((case.inputs, case.module().eval()(*case.inputs)), inputs)
        exact = plan(read(str(whole)))
        given = inputs if case.inputs is not None and exact.level == "exact config" else None
        cases[name] = Case(source(exact), exact, whole, given)
        if module.state_dict():
            torch.save(module.state_dict(), state)
            found = plan(read(str(state)))
            cases[f"{name} state"] = Case(source(found), found, state)
    return cases, run(cases)


def test_layers_of_torch_compute_the_same(zoo: Any) -> None:
    cases, answers = zoo
    assert {name: answer["error"] for name, answer in answers.items() if "error" in answer} == {}
    assert [name for name, answer in answers.items() if answer.get("equal") is False] == []
    assert sum(answer.get("equal", False) for answer in answers.values()) > 250
    for name, case in cases.items():
        assert answers[name]["tensors"] == wanted(case.plan), name


def test_constructors_make_the_tensors_that_the_table_says(zoo: Any) -> None:
    """Where the table of tensors is wrong, what torch makes is made once more."""
    again = [
        name
        for name, case in zoo[0].items()
        if "nn.Parameter(" in case.source and not name.startswith(("Parameter", "Module"))
    ]
    assert again == []
