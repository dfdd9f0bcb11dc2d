"""Our reading of every fixture, and of real checkpoints, equals what torch and safetensors load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptaudit.model import Checkpoint, TensorMeta
from ckptaudit.readers import read
from ckptaudit.summary import ties

pytest.importorskip("torch", reason="the oracle is torch itself")
pytest.importorskip("safetensors", reason="the oracle is safetensors itself")

from fixtures import real
from tests import oracle

FIXTURES = Path(__file__).parent.parent / "fixtures"
NO_CHECKPOINT = {".py", ".md"}
STAND_INS = {"lfs_pointer.pt"}


def _fixtures() -> list[Path]:
    """Every fixture: files of any suffix, and folders with an index."""
    found = [path for path in sorted(FIXTURES.iterdir()) if path.suffix not in NO_CHECKPOINT]
    folders = [path for path in found if path.is_dir() and list(path.glob("*.index.json"))]
    return [path for path in found if path.is_file() and path.name not in STAND_INS] + folders


def _real() -> list[Any]:
    paths = [path for path in real.paths() if path.suffix != ".onnx"]
    missing = pytest.mark.skip(reason="no real checkpoints: python fixtures/real.py fetches them, online")
    return paths or [pytest.param(None, marks=missing)]


def _seen(tensor: TensorMeta, device: str | None) -> tuple[Any, ...]:
    return (tensor.dtype, tensor.shape, tensor.stride, tensor.offset, device, tensor.layout)


def _check(path: Path) -> Checkpoint:
    checkpoint, expected = read(path), oracle.view(path)
    ours = {place: tensor for place, tensor in checkpoint.tensors.items() if place[:1] != ("CONSTANTS",)}
    assert set(ours) == set(expected.tensors)
    for place, tensor in ours.items():
        seen = expected.tensors[place]
        device = checkpoint.storages[tensor.storage].device if seen.device is not None else None
        assert _seen(tensor, device) == (
            seen.dtype, seen.shape, seen.stride, seen.offset, seen.device, seen.layout,
        ), place  # fmt: skip
    groups = {frozenset(tensor.path for tensor in group) & set(ours) for group in ties(checkpoint)}
    assert {group for group in groups if len(group) > 1} == expected.ties
    return checkpoint


def test_there_are_fixtures() -> None:
    assert len(_fixtures()) > 100


@pytest.mark.parametrize("path", _fixtures(), ids=lambda path: path.name)
def test_fixture_reads_as_torch_loads_it(path: Path) -> None:
    checkpoint = _check(path)
    assert not checkpoint.problems


@pytest.mark.parametrize("path", _fixtures(), ids=lambda path: path.name)
def test_kinds_and_gradients_are_torchs(path: Path) -> None:
    checkpoint, expected = read(path), oracle.view(path)
    for place, seen in expected.tensors.items():
        tensor = checkpoint.tensors[place]
        if tensor.requires_grad is not None:
            assert tensor.requires_grad == seen.requires_grad, place
        if tensor.kind in ("parameter", "buffer"):
            assert (tensor.kind == "parameter") == seen.is_parameter, place


@pytest.mark.parametrize("path", [path for path in _fixtures() if path.is_file()], ids=lambda path: path.name)
def test_weights_only_is_torchs_own_answer(path: Path) -> None:
    if path.suffix == ".json":
        pytest.skip("torch.load takes no index")
    assert read(path).weights_only == oracle.weights_only_outcome(path)


@pytest.mark.parametrize("path", _real(), ids=lambda path: getattr(path, "name", "offline"))
def test_real_checkpoint_reads_as_torch_loads_it(path: Path) -> None:
    assert not _check(path).problems


@pytest.mark.parametrize("path", _real(), ids=lambda path: getattr(path, "name", "offline"))
def test_real_checkpoint_has_torchs_verdict(path: Path) -> None:
    assert read(path).weights_only == oracle.weights_only_outcome(path)
