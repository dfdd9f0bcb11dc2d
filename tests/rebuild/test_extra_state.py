"""What a state dict holds besides tensors: strict loading minds the keys, whatever they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptaudit.rebuild import rebuild

pytest.importorskip("torch", reason="the oracle is torch itself")

import torch


@pytest.mark.parametrize(
    "value",
    [{}, {"n": 1}, {"amax": torch.ones(2), "n": 1}, [torch.ones(1)], (1, {"a": [1]}), b"abc", None, 7, "x"],
    ids=str,
)
@pytest.mark.parametrize("key", ["_extra_state", "l._extra_state"])
def test_strict_loading_takes_the_key(tmp_path: Path, key: str, value: Any) -> None:
    state = {"l.weight": torch.ones(2, 3), "l.bias": torch.ones(2), key: value}
    torch.save(state, tmp_path / "a.pt")
    module = rebuild(str(tmp_path / "a.pt")).module
    assert module.state_dict().keys() == state.keys()
    module.load_state_dict(torch.load(tmp_path / "a.pt", weights_only=True), strict=True)


def test_paths_that_read_alike_are_two_tensors(tmp_path: Path) -> None:
    torch.save({"a": {"b": torch.zeros(1)}, "a.b": torch.ones(1)}, tmp_path / "a.pt")
    state = rebuild(str(tmp_path / "a.pt")).module.state_dict()
    assert sorted(tensor.item() for tensor in state.values()) == [0, 1]


def test_two_parameters_on_one_memory_keep_their_flags(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    net[1].weight = torch.nn.Parameter(net[0].weight.data, requires_grad=False)
    torch.save(net, tmp_path / "a.pt")
    module = rebuild(str(tmp_path / "a.pt")).module
    assert (module[0].weight.requires_grad, module[1].weight.requires_grad) == (True, False)
    assert module[0].weight.data_ptr() == module[1].weight.data_ptr()


def test_private_settings_that_were_changed_are_kept(tmp_path: Path) -> None:
    net = torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")
    x = torch.randn(1, 1, 5, 5)
    plain = net(x)
    net._reversed_padding_repeated_twice = (2, 2, 0, 0)
    torch.save(net, tmp_path / "a.pt")
    module = rebuild(str(tmp_path / "a.pt")).module
    assert not torch.equal(net(x)[..., :1], plain[..., :1])
    assert torch.equal(module(x), net(x))
