"""What is written again is what was read: by torch's and safetensors' own word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptaudit.output import OutputError
from ckptaudit.rebuild import rebuild

pytest.importorskip("torch", reason="writes and loads tensors")
pytest.importorskip("safetensors", reason="writes and loads tensors")

import safetensors.torch
import torch

from ckptaudit.rebuild.write import save
from tests.oracle import FIXTURES

FILES = (
    "mlp.params",
    "shared.pt",
    "shared.safetensors",
    "tiny_gpt.pt",
    "bn_dropout.pt",
    "full_model_shared.pt",
)


def has_equal_bytes(one: Any, other: Any) -> bool:
    same = (one.dtype, one.shape) == (other.dtype, other.shape)
    return same and bytes(one.contiguous().untyped_storage()) == bytes(other.contiguous().untyped_storage())


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_round_trip(tmp_path: Path, name: str, suffix: str) -> None:
    first = rebuild(str(FIXTURES / name))
    path = tmp_path / f"again{suffix}"
    save(first, str(path))
    again = rebuild(str(path))
    ours, theirs = first.module.state_dict(), again.module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(has_equal_bytes(ours[key], theirs[key]) for key in ours)
    assert {frozenset(group) for group in again.ties} == {frozenset(group) for group in first.ties}
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_safetensors_own_loader_finds_the_ties(tmp_path: Path) -> None:
    path = tmp_path / "shared.safetensors"
    first = rebuild(str(FIXTURES / "shared.pt"))
    save(first, str(path))
    module = rebuild(str(FIXTURES / "full_model_shared.pt")).module
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0)
    assert safetensors.torch.load_model(module, str(path)) == (set(), [])
    assert torch.equal(module[4].weight, first.module.state_dict()["4.weight"])


def test_torch_loads_what_is_written(tmp_path: Path) -> None:
    save(rebuild(str(FIXTURES / "shared.pt")), str(tmp_path / "again.pt"))
    state = torch.load(tmp_path / "again.pt", weights_only=True)
    theirs = torch.load(FIXTURES / "shared.pt", weights_only=True)
    assert list(state) == list(theirs)
    assert all(torch.equal(state[key], theirs[key]) for key in theirs)
    assert state["2.weight"].data_ptr() == state["4.weight"].data_ptr()


def test_what_safetensors_has_no_word_for(tmp_path: Path) -> None:
    told = r"a lazy parameter, for which safetensors has no word; write a \.pt"
    with pytest.raises(OutputError, match=told):
        save(rebuild(str(FIXTURES / "lazy.pt")), str(tmp_path / "lazy.safetensors"))
    with pytest.raises(OutputError, match="could not be written: No such file"):
        save(rebuild(str(FIXTURES / "mlp.params")), str(tmp_path / "none" / "x.pt"))
    assert list(tmp_path.iterdir()) == []


def test_over_the_file_itself(tmp_path: Path) -> None:
    path = tmp_path / "mlp.params"
    path.write_bytes((FIXTURES / "mlp.params").read_bytes())
    first = rebuild(str(path))
    save(first, str(path))
    again = rebuild(str(path)).module.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in first.module.state_dict().items())


def test_conjugated_views_keep_their_values(tmp_path: Path) -> None:
    x = torch.tensor([1 + 2j, 3 - 4j])
    torch.save({"a": x, "b": x.conj()}, tmp_path / "a.pt")
    first = rebuild(str(tmp_path / "a.pt"))
    assert first.ties == ()
    for suffix in (".pt", ".safetensors"):
        save(first, str(tmp_path / f"b{suffix}"))
        state = rebuild(str(tmp_path / f"b{suffix}")).module.state_dict()
        assert torch.equal(state["a"], x)
        assert torch.equal(state["b"].resolve_conj(), x.conj().resolve_conj())


def test_the_order_of_the_file_is_kept(tmp_path: Path) -> None:
    keys = ("b.weight", "a.running_mean", "a.weight", "b.bias", "a.bias")
    torch.save({key: torch.full((2,), float(at)) for at, key in enumerate(keys)}, tmp_path / "a.pt")
    save(rebuild(str(tmp_path / "a.pt")), str(tmp_path / "b.pt"))
    assert tuple(torch.load(tmp_path / "b.pt")) == keys
