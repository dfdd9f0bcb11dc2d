"""Fresh processes for real: few, for each of them imports torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="runs models")

from ckptaudit.cli import group  # noqa: E402
from ckptaudit.isolated import ChildError  # noqa: E402
from ckptaudit.verify.processes import Job, observe_all, observe_in_child  # noqa: E402
from tests.verify import helpers  # noqa: E402


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    helpers.write_code(tmp_path)
    monkeypatch.chdir(tmp_path)
    helpers.save(tmp_path / "net.pt")
    return tmp_path


def test_record_and_verify(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Bit by bit the same in four processes, and what the code prints is no part of the answer."""
    command = ["net.pt", "--model", "own_nets:prints"]
    assert run("record", *command, "-o", "golden.safetensors") == 0
    assert "golden.safetensors written: 1 output" in capfd.readouterr().out
    assert run("verify", *command, "--record", "golden.safetensors", "--format", "json") == 0
    out, err = capfd.readouterr()
    told = json.loads(out)
    assert (told["schema"], told["verdict"], told["first_divergence"]) == (
        "ckptaudit.verify/1",
        "equal",
        None,
    )
    assert "{ not json" in err


def run(*args: str) -> int:
    return int(group.main(list(args), prog_name="ckptaudit", standalone_mode=False) or 0)


def test_crash_and_time_limit(place: Path) -> None:
    dies, hangs = observe_all(
        [Job("net.pt", "out", "own_nets:dies"), Job("net.pt", "out", "own_nets:hangs", seconds=3)]
    )
    assert dies.cannot == "the child process gave no answer (signal 9)"
    assert hangs.cannot == "still at work after 3 s; raise --timeout"
    with pytest.raises(ChildError):
        observe_in_child(Job("net.pt", "out", "own_nets"))
