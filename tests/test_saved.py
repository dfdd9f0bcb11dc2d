from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ckptaudit.errors import SelectionError
from ckptaudit.model import Checkpoint, ModuleMeta, Role, StateDict
from ckptaudit.readers import read
from ckptaudit.saved import Lost, module_classes, saved
from tests.handmade import MLP, Parts, checkpoint, tensor, training

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.mark.parametrize(
    ("roles", "root"),
    [
        ({"a": "model", "b": "ema", "c": "optimizer"}, ("a",)),
        ({"model": "model", "other": "model"}, ("model",)),
        ({"b": "ema", "c": "optimizer"}, ("b",)),
    ],
)
def test_the_model_is_found(roles: dict[str, Role], root: tuple[str, ...]) -> None:
    parts: Parts = {(name,): (role, MLP) for name, role in roles.items()}
    found = saved(checkpoint(parts))
    assert (found.root, list(found.tensors)) == (root, list(MLP))


@pytest.mark.parametrize("role", ["model", "ema"])
def test_several_are_not_chosen_among(role: Role) -> None:
    with pytest.raises(SelectionError, match="a, b could each be the model; name one: PATH::NAME"):
        saved(checkpoint({("a",): (role, MLP), ("b",): (role, MLP)}))


def test_without_a_model_all_but_the_optimizer_counts() -> None:
    parts: Parts = {("a",): ("other", {"w": (1,)}), ("optimizer",): ("optimizer", {"v": (2,)})}
    assert list(saved(checkpoint(parts)).tensors) == ["a.w"]
    assert saved(checkpoint({})).tensors == {}


@pytest.mark.parametrize(
    ("extras", "others"),
    [
        ({("model", "epoch"): 3}, ("epoch",)),
        (
            {("model", "fp8._extra_state", "a"): 1, ("model", "fp8._extra_state", "b", 0): 2},
            ("fp8._extra_state",),
        ),
        ({("epoch",): 3, ("optimizer", "lr"): 1, ("model",): 3}, ()),
        ({("model", "output.bias", "x"): 1}, ()),
    ],
)
def test_keys_that_hold_no_tensor(extras: dict[tuple[str, ...], object], others: tuple[str, ...]) -> None:
    assert saved(replace(training(), extras=extras)).other_keys == others


def whole(**config: object) -> Checkpoint:
    rows = (
        tensor("kept", (2,), "0", kind="parameter"),
        tensor("mask", (3,), "1", kind="buffer"),
        tensor("constant", (4,), "2", kind="tensor"),
        tensor("inner.weight", (5,), "3", kind="parameter"),
        tensor("parts.0.weight", (6,), "4", kind="parameter"),
        tensor("again.0.weight", (5,), "3", kind="parameter"),
        tensor("list.0", (7,), "5", kind="parameter"),
    )
    paths = ("", "inner", "parts.0", "again.0")
    modules = {path: ModuleMeta(path, "net.Net", config if not path else None) for path in paths}
    held = {row.path: row for row in rows}
    return replace(checkpoint({}), tensors=held, state_dicts=(StateDict((), "model", modules),))


def test_what_of_a_whole_module_its_state_dict_holds() -> None:
    found = saved(whole(non_persistent_buffers=["mask"]))
    assert found.is_module
    assert list(found.tensors) == ["kept", "inner.weight"]
    assert found.lost == {
        "mask": Lost((3,), "float32", "non-persistent buffer"),
        "constant": Lost((4,), "float32", "plain attribute"),
        "parts.0.weight": Lost((6,), "float32", "in a plain container"),
        "list.0": Lost((7,), "float32", "in a plain container"),
    }
    assert "mask" in saved(whole(non_persistent_buffers=3)).tensors


def test_classes_of_whole_modules() -> None:
    assert module_classes(read(FIXTURES / "full_model_mlp.pt")) == [
        "systems.MLP",
        "torch.nn.modules.linear.Linear",
    ]
    for name in ("mlp.params", "nest_mlp.torchscript.pt", "mlp.pt2"):
        assert module_classes(read(FIXTURES / name)) == []


def test_whole_modules_hold_what_torch_would_save(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is torch itself")
    monkeypatch.syspath_prepend(FIXTURES)
    done = 0
    for path in sorted(FIXTURES.glob("full_model_*.pt")):
        model = torch.load(path, weights_only=False)
        if isinstance(model, torch.nn.Module):
            held = {key: None if torch.nn.parameter.is_lazy(value) else tuple(value.shape)
                    for key, value in model.state_dict().items()}  # fmt: skip
            assert {key: row.shape for key, row in saved(read(path)).tensors.items()} == held, path
            done += 1
    assert done > 15
    sys.modules.pop("systems", None)


def test_keys_of_state_dicts_are_torchs(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is torch itself")
    states: list[Any] = [
        3,
        None,
        [],
        {"a": 1, "b": [2]},
        {"scale": torch.ones(3)},
        (torch.ones(1), 3),
        torch.ones(2),
    ]

    class Extra(torch.nn.Linear):
        state: Any = None

        def get_extra_state(self) -> Any:
            return self.state

        def set_extra_state(self, state: Any) -> None:
            self.state = state

    for number, state in enumerate(states):
        layer = Extra(1, 1)
        layer.state = state
        model = torch.nn.ModuleDict({"fp8": layer})
        path = tmp_path / f"{number}.pt"
        torch.save(model.state_dict(), path)
        found = saved(read(path))
        assert [*found.tensors, *found.other_keys] == list(model.state_dict()), state
