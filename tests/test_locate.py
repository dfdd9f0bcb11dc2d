from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ckptaudit.errors import CkptAuditError
from ckptaudit.gate import check
from ckptaudit.locate import expand, read_at, split
from tests.handmade import MLP, write_safetensors

FIXTURES = Path(__file__).parent.parent / "fixtures"
TREE = (
    *("a.pt", "b.PTH", "notes.txt", "config.json", "runs/c.ckpt", "runs/deep/d.safetensors", ".cache/e.pt"),
    *("[odd].pt", "odd::name.pt", "empty/readme.md", "big/model.safetensors.index.json"),
    *("big/model-00001-of-00002.safetensors", "big/model-00002-of-00002.safetensors"),
    "big/model-00009-of-00009.safetensors",
)  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in TREE:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    shards = {str(part): f"model-0000{part}-of-00002.safetensors" for part in (1, 2)}
    (tmp_path / "big/model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["a.pt", "gone.pt"], ["a.pt", "gone.pt"]),
        (["a.pt", "./a.pt", "runs/../a.pt", "a.pt"], ["a.pt"]),
        (["runs"], ["runs/c.ckpt", "runs/deep/d.safetensors"]),
        (["runs/"], ["runs/c.ckpt", "runs/deep/d.safetensors"]),
        (["runs/deep/d.safetensors", "runs"], ["runs/deep/d.safetensors", "runs/c.ckpt"]),
        (["big"], ["big/model-00009-of-00009.safetensors", "big/model.safetensors.index.json"]),
        (["empty"], ["empty"]),
        (["*.pt"], ["[odd].pt", "a.pt", "odd::name.pt"]),
        (["r*"], ["runs/c.ckpt", "runs/deep/d.safetensors"]),
        (["**/*-of-*"], [f"big/model-0000{n}-of-0000{of}.safetensors" for n, of in ((1, 2), (2, 2), (9, 9))]),
        (["*.gone"], ["*.gone"]),
        (["[odd].pt"], ["[odd].pt"]),
        (["odd::name.pt", "a.pt::model", "gone::x"], ["odd::name.pt", "a.pt::model", "gone::x"]),
        (["a*.pt::ema", "*.gone::ema"], ["a.pt::ema", "*.gone::ema"]),
        (["."], ["[odd].pt", "a.pt", "b.PTH", "odd::name.pt", "big/model-00009-of-00009.safetensors",
                 "big/model.safetensors.index.json", "runs/c.ckpt", "runs/deep/d.safetensors"]),
    ],
)  # fmt: skip
def test_expand(tree: Path, paths: list[str], found: list[str]) -> None:
    assert [path.removeprefix("./") for path in expand(paths)] == found


def test_links(tree: Path) -> None:
    (tree / "link").symlink_to(tree / "runs", target_is_directory=True)
    (tree / "runs" / "loop").symlink_to(tree, target_is_directory=True)
    (tree / "runs" / "dangling.pt").symlink_to(tree / "gone")
    assert expand(["link"]) == ["link/c.ckpt", "link/dangling.pt", "link/deep/d.safetensors"]


def test_a_folder_that_cannot_be_looked_into_does_not_stop_the_others(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert expand(["runs", "a.pt"]) == ["runs/c.ckpt", "runs/deep", "a.pt"]


def test_folders_without_a_checkpoint_are_told_as_such(tree: Path) -> None:
    report = check("empty", "*.gone", "gone.pt")
    assert report.exit_code == 3
    assert [[each.rule for each in file.findings] for file in report.files] == [["unreadable-file"]] * 3


@pytest.mark.parametrize(
    ("location", "parts"),
    [
        ("a.pt::model", ("a.pt", "model")),
        ("a::b::c", ("a::b", "c")),
        ("a.pt", ("a.pt", "")),
        ("a.pt::", ("a.pt::", "")),
        ("odd::name.pt", ("odd::name.pt", "")),
        ("odd::name.pt::model", ("odd::name.pt", "model")),
    ],
)
def test_split(tree: Path, location: str, parts: tuple[str, str]) -> None:
    assert split(location) == parts


def test_read_at(tmp_path: Path) -> None:
    ema = read_at(str(FIXTURES / "train_ckpt_ema.pt::ema_state_dict"))
    assert {path[0] for path in ema.tensors} == {"ema_state_dict"}
    odd = write_safetensors(tmp_path / "a::b", MLP)
    assert len(read_at(str(odd)).tensors) == 4
    for gone in ("train_ckpt_ema.pt::gone", "gone.pt::model", "mlp.params::model"):
        with pytest.raises(CkptAuditError):
            read_at(str(FIXTURES / gone))
