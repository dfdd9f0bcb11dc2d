from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from ckptaudit.readers import read
from ckptaudit.rebuild.place import PlaceError, device_named, devices_here, place

pytest.importorskip("torch", reason="the oracle is torch itself")

import torch

from tests.oracle import FIXTURES, tensors_of

# No plain bytes in the file: a pickle in a pickle, a distributed tensor, numpy's.
NOT_PLAIN = {"dtensor.pt", "from_numpy.pt", "raw_tensors.pkl", "raw_module.pkl", "wrapper.pt"}
FILES = [
    path
    for path in sorted(FIXTURES.glob("*.pt"))
    if "torchscript" not in path.name and path.name not in {*NOT_PLAIN, "lfs_pointer.pt", "meta.pt"}
]


def loaded(path: Path) -> dict[tuple[str | int, ...], Any]:
    sys.path.insert(0, str(FIXTURES))
    try:
        return tensors_of(torch.load(path, weights_only=False, map_location="cpu"))
    finally:
        sys.path.remove(str(FIXTURES))


def has_equal_bytes(one: Any, other: Any) -> bool:
    one, other = (each.resolve_conj().resolve_neg().contiguous() for each in (one, other))
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return bool(torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)))


@pytest.mark.filterwarnings("ignore:ComplexHalf", "ignore:TypedStorage", "ignore:.*[Ss]parse")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_values_are_those_of_torch(path: Path) -> None:
    checkpoint = read(str(path))
    theirs = loaded(path)
    ours, left = place(checkpoint, {repr(where): row for where, row in checkpoint.tensors.items()})
    for where, row in checkpoint.tensors.items():
        if row.shape is None or repr(where) in {each.key for each in left}:
            continue
        assert has_equal_bytes(ours[repr(where)], theirs[where]), where
        assert ours[repr(where)].stride() == theirs[where].stride()
    unusual = {repr(where) for where, row in checkpoint.tensors.items() if _is_unusual(row)}
    assert {each.key for each in left} == unusual


def _is_unusual(row: Any) -> bool:
    return row.layout != "strided" or row.dtype.startswith("q") or row.subclass == "torch.nested"


def test_a_tie_is_one_memory(tmp_path: Path) -> None:
    checkpoint = read(str(FIXTURES / "shared.pt"))
    ours, _ = place(checkpoint, {row.key: row for row in checkpoint.tensors.values()})
    assert ours["2.weight"].data_ptr() == ours["4.weight"].data_ptr()
    ours["2.weight"][0, 0] = 7
    assert ours["4.weight"][0, 0] == 7


@pytest.mark.parametrize("name", ["mlp.params", "mlp.safetensors", "mlp.legacy.pt"])
def test_writing_to_a_tensor_leaves_the_file_as_it_is(tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(FIXTURES / name, tmp_path))
    before = path.read_bytes()
    checkpoint = read(str(path))
    ours, _ = place(checkpoint, {row.key: row for row in checkpoint.tensors.values()})
    for tensor in ours.values():
        assert tensor.data_ptr() % 64 == 0
        tensor.fill_(3)
    assert path.read_bytes() == before


def test_what_cannot_be_placed_is_told_and_loses_nothing_else() -> None:
    checkpoint = read(str(FIXTURES / "sparse.pt"))
    _, left = place(checkpoint, {row.key: row for row in checkpoint.tensors.values()})
    assert {each.key for each in left} >= {"coo", "csr"}
    assert all(each.reason.startswith("a tensor of layout sparse") for each in left)


def test_devices() -> None:
    assert device_named("cpu") == devices_here(torch)[0] == "cpu"
    assert device_named("auto") in devices_here(torch)
    with pytest.raises(PlaceError, match="cuda:99: there is no such device here; there is: cpu"):
        device_named("cuda:99")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu() -> None:
    checkpoint = read(str(FIXTURES / "shared.pt"))
    rows = {row.key: row for row in checkpoint.tensors.values()}
    here, _ = place(checkpoint, rows)
    there, _ = place(checkpoint, rows, device_named("cuda"))
    assert all(str(tensor.device) == "cuda:0" for tensor in there.values())
    assert all(has_equal_bytes(here[key], there[key].cpu()) for key in rows)
    assert there["2.weight"].data_ptr() == there["4.weight"].data_ptr()
