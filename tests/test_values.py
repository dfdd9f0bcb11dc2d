from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptaudit.model import Checkpoint, Span, Storage, TensorMeta
from ckptaudit.values import compare_copies
from tests.handmade import tensor

SIZE = 3 * 2**20 + 8  # more than is read at once


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three storages of SIZE bytes: two equal ones, and one of which the last byte differs."""
    path = tmp_path_factory.mktemp("values") / "x"
    path.write_bytes(bytes(SIZE) * 2 + bytes(SIZE - 1) + b"\1")
    return path


def equal(file: Path, *rows: TensorMeta) -> bool | None:
    spans = {name: Span(str(file), place * SIZE, SIZE) for place, name in enumerate("abc")}
    storages = {name: Storage(name, None, "cpu", SIZE, span) for name, span in spans.items()}
    storages["meta"] = Storage("meta", None, "meta", SIZE, None)
    made = Checkpoint("x", "torch-zip", (), {}, storages)
    return compare_copies(made, [rows]).equal[0]


ROWS = SIZE // 8


def row(storage: str, shape: tuple[int, ...] | None = (ROWS, 2), **more: Any) -> TensorMeta:
    return tensor(storage, shape, storage, **more)


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        ((row("a"), row("b")), True),
        ((row("a"), row("c")), False),
        ((row("a"), row("b"), row("c")), False),
        ((row("a", (ROWS - 1, 2)), row("c", (ROWS - 1, 2))), True),
        ((row("a", (4,), offset=2 * ROWS - 4), row("c", (4,), offset=2 * ROWS - 4)), False),
        ((row("a", (4,), offset=4), row("c", (4,))), True),
        ((row("a", (2,)), row("b", (3,))), False),
        ((row("a", (2,)), row("b", (2,), dtype="int32")), False),
        ((row("a", (0, 3)), row("c", (0, 3))), True),
        ((row("a", ()), row("b", ())), True),
        ((row("a", (1, 4, 1), stride=(99, 1, 5)), row("b", (1, 4, 1))), True),
        # What cannot be told is not guessed.
        ((row("a", (2, 2), stride=(1, 2)), row("b", (2, 2))), None),
        ((row("a", (4,), offset=2 * ROWS - 3), row("b", (4,))), None),
        ((row("b", (4,), offset=-2), row("a", (4,))), None),
        ((row("a", (2**62, 2**62)), row("b", (2**62, 2**62))), None),
        ((row("a", (4,), dtype="strange"), row("c", (4,), dtype="strange")), None),
        ((row("a", None, kind="lazy"), row("b", None, kind="lazy")), None),
        ((row("a", (4,), layout="sparse_coo"), row("b", (4,), layout="sparse_coo")), None),
        ((row("a", (4,)), row("meta", (4,))), None),
        ((row("a", (4,)), row("gone", (4,))), None),
    ],
)
def test_copies(file: Path, rows: tuple[TensorMeta, ...], answer: bool | None) -> None:
    assert equal(file, *rows) is answer


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    assert equal(tmp_path / "gone", row("a"), row("b")) is None


def test_copies_as_torch_compares_them(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the oracle is torch itself")
    from ckptaudit.readers import read

    pairs = {
        "same": (torch.arange(6.0), torch.arange(6.0)),
        "other": (torch.arange(6.0), torch.arange(6.0).flip(0)),
        "view": (torch.arange(9.0)[3:], torch.arange(3.0, 9.0)),
        "half": (torch.ones(3, dtype=torch.bfloat16), torch.ones(3, dtype=torch.bfloat16)),
    }
    path = tmp_path / "x.pt"
    torch.save({f"{name}.{side}": pair[side] for name, pair in pairs.items() for side in (0, 1)}, path)
    found = read(path)
    groups = [tuple(found.tensors[f"{name}.{side}",] for side in (0, 1)) for name in pairs]
    told = compare_copies(found, groups).equal
    assert list(told) == [torch.equal(*pair) for pair in pairs.values()]
