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
from tests.rebuild.odd_models import MODELS
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
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Case], dict[str, Any]]:
    """Every layer of torch.nn, and models with what is rare, as whole modules and as state dicts."""
    folder = tmp_path_factory.mktemp("made")
    cases = {}
    for name, case in CASES.items():
        whole, inputs = folder / f"{name}.pt", folder / f"{name}.inputs"
        torch.save(case.module(), whole)
        exact = plan(read(str(whole)))
        runs = case.inputs is not None and exact.level == "exact config"
        if case.inputs is not None and runs:
            # Not what torch.load makes of the file: a decoder layer with a module for activation gets relu.
            torch.save((case.inputs, case.module().eval()(*case.inputs)), inputs)
        cases[name] = Case(source(exact), exact, whole, inputs if runs else None)
    odd = {name: make() for name, make in MODELS.items()}
    for name, module in odd.items():
        torch.save(module, folder / f"{name}.pt")
        exact = plan(read(str(folder / f"{name}.pt")))
        cases[name] = Case(source(exact), exact, folder / f"{name}.pt")
    first = {name: case.module() for name, case in CASES.items() if name.endswith(("-0", "-1"))}
    for name, module in {**first, **odd}.items():
        if module.state_dict():
            torch.save(module.state_dict(), folder / f"{name}.state.pt")
            found = plan(read(str(folder / f"{name}.state.pt")))
            cases[f"{name} state"] = Case(source(found), found, folder / f"{name}.state.pt")
    return cases, run(cases)


@pytest.mark.filterwarnings("ignore")
def test_layers_of_torch_compute_the_same(made: Any) -> None:
    cases, answers = made
    assert {name: answer["error"] for name, answer in answers.items() if "error" in answer} == {}
    assert [name for name, answer in answers.items() if answer.get("equal") is False] == []
    assert sum(answer.get("equal", False) for answer in answers.values()) > 250
    for name, case in cases.items():
        assert answers[name]["tensors"] == wanted(case.plan), name
        assert strange(case.source) == [], name


def test_odd_models_keep_flags_ties_and_shared_modules(made: Any) -> None:
    _, answers = made
    for name in MODELS:
        original = answers[name]["original"]
        for fact in ("frozen", "eval"):
            assert original[fact] == answers[name][fact], name
        # A module that is put in later comes later.
        for fact in ("modules", "parameters"):
            assert sorted(original[fact]) == sorted(answers[name][fact]), name


def test_constructors_make_the_tensors_that_the_table_says(made: Any) -> None:
    """Where the table of tensors is wrong, what torch makes is made once more."""
    again = [
        name
        for name, case in made[0].items()
        if "nn.Parameter(" in case.source and name.partition(" ")[0] not in MODELS
    ]
    assert [name for name in again if not name.startswith("Parameter")] == []


def test_a_buffer_that_is_one_with_a_parameter(tmp_path: Path) -> None:
    one = torch.ones(8)
    state = {
        **{f"bn.{name}": torch.zeros(8) for name in ("bias", "running_mean")},
        **{"bn.weight": one, "bn.running_var": one, "ln.weight": one, "ln.bias": torch.ones(8)},
    }
    torch.save(state, tmp_path / "a.pt")
    text = source(plan(read(str(tmp_path / "a.pt"))))
    made: dict[str, Any] = {}
    exec(compile(text, "model.py", "exec"), made)
    made["build"]().load_state_dict(state, strict=True)
    assert "ln.weight and bn.weight share memory in the file" in text


_PLAIN = {"note": "hi", "epoch": 5, "a.b.step": 3, "a.none": None, "deep": {"x": [1]}}


@pytest.mark.parametrize(
    "module",
    [
        torch.nn.ModuleDict({"a": torch.nn.Linear(3, 2)}),
        torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)),
        torch.nn.Linear(3, 2),
    ],
    ids=lambda module: type(module).__name__,
)
def test_keys_that_hold_no_tensor_load_strictly(module: Any, tmp_path: Path) -> None:
    state = {**module.state_dict(), **_PLAIN}
    torch.save(state, tmp_path / "a.pt")
    text = source(plan(read(str(tmp_path / "a.pt"))))
    made: dict[str, Any] = {}
    exec(compile(text, "model.py", "exec"), made)
    model = made["build"]()
    model.load_state_dict(state, strict=True)
    assert set(state) == {*module.state_dict(), *_PLAIN}, "what is the caller's stays as it is"
    assert all(torch.equal(model.state_dict()[key], kept) for key, kept in module.state_dict().items())
    with pytest.raises(RuntimeError, match="Unexpected"):
        model.load_state_dict({**state, "other": torch.ones(1)}, strict=True)


def test_tensors_that_repeat_one_element_take_no_memory(tmp_path: Path) -> None:
    state = {"a.w": torch.ones(1).expand(2**20, 2**12), "b.weight": torch.ones(2, 3, dtype=torch.float16),
             "c": torch.ones(1, dtype=torch.float16).expand(2**30)}  # fmt: skip
    torch.save(state, tmp_path / "a.pt")
    text = source(plan(read(str(tmp_path / "a.pt"))))
    made: dict[str, Any] = {}
    exec(compile(text, "model.py", "exec"), made)
    model = made["build"]()
    assert {key: (kept.shape, kept.dtype) for key, kept in model.state_dict().items()} == {
        key: (kept.shape, kept.dtype) for key, kept in state.items()
    }
    assert all(kept.untyped_storage().nbytes() < 100 for kept in model.state_dict().values())
    assert "model.load_state_dict(state, assign=True)" in text
    model.load_state_dict(state, strict=True, assign=True)


def _changed(module: Any, **settings: object) -> Any:
    module.__dict__.update(settings)
    return module


def _as_buffer(name: str, tensor: Any) -> Any:
    module = torch.nn.Linear(2, 2)
    module._buffers[name] = tensor
    return module


def _lying() -> dict[str, Any]:
    nn = torch.nn
    norm = nn.utils.spectral_norm(nn.Linear(2, 2))
    next(iter(norm._forward_pre_hooks.values())).name = "forward"
    wide = nn.utils.weight_norm(nn.Linear(2, 2))
    del wide.__dict__["weight"]
    wide._parameters["weight_v"] = nn.Parameter(torch.ones(1).expand(2**18, 2**17))
    ints = {str(size)[:20]: _changed(nn.Linear(2, 2), in_features=size)
            for size in (-5, None, "x", 2.5, 2**40, 2**62, 10**400)}  # fmt: skip
    return {
        **ints,
        "layers": _changed(nn.LSTM(2, 2), num_layers=10**9),
        "padding": _changed(nn.Conv2d(2, 2, 1), padding="evil"),
        "groups": _changed(nn.GroupNorm(1, 2), num_groups=0),
        "heads": _changed(nn.MultiheadAttention(4, 2), num_heads=0),
        "dropout": _changed(nn.Dropout(), p=7),
        "margin": _changed(nn.TripletMarginLoss(), margin=-1),
        "size": _changed(nn.ParameterList([torch.ones(1)]), _size=10**9),
        "setting": _changed(nn.LSTM(2, 2), all_weights=3),
        "buffer": _as_buffer("weight", torch.ones(3)),
        "norm": norm,
        "wide": wide,
        "many": nn.Sequential(*(_changed(nn.Linear(1, 1), in_features=2**14) for _ in range(300))),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", list(_lying()))
def test_sizes_that_lie_are_not_built(name: str, tmp_path: Path) -> None:
    torch.save(_lying()[name], tmp_path / "a.pt")
    found = plan(read(str(tmp_path / "a.pt")))
    text = source(found)
    made: dict[str, Any] = {}
    exec(compile(text, "model.py", "exec"), made)
    model = made["build"]()
    held = {key: tuple(kept.shape) for key, kept in model.state_dict().items()}
    assert held == {key: row.shape for key, row in found.tensors.items()}
    assert sum(kept.untyped_storage().nbytes() for kept in model.state_dict().values()) < 2**24
    repr(model)
