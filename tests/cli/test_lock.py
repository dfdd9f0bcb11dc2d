from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ckptaudit.cli import group
from tests.handmade import MLP, write_safetensors

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
PARAMS = str(FIXTURES / "mlp.params")


def call(*args: str) -> Result:
    return CliRunner().invoke(group, list(args))


def test_what_is_locked_passes_and_what_has_changed_does_not(tmp_path: Path) -> None:
    lock = str(tmp_path / "weights.lock.json")
    written = call("lock", PARAMS, "-o", lock)
    assert (written.exit_code, written.output) == (0, "")
    assert call("check", PARAMS, "--against", lock, "--no-config").exit_code == 0
    assert call("check", str(FIXTURES / "mlp_out.pt"), "--against", lock, "--no-config").exit_code == 1
    again = call("lock", lock)
    assert again.stdout == Path(lock).read_text()


def test_to_stdout() -> None:
    result = call("lock", PARAMS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert list(json.loads(result.stdout)["tensors"]) == sorted(MLP)


@pytest.mark.parametrize(
    ("path", "ties"),
    [
        ("shared.pt", [["2.bias", "4.bias"], ["2.weight", "4.weight"]]),
        ("train_ckpt_ema.pt::state_dict", [["lm_head.weight", "wte.weight"]]),
        ("train_ckpt_ema.pt::ema_state_dict", []),
        ("sharded_safetensors", []),
    ],
)
def test_fixtures(path: str, ties: list[list[str]]) -> None:
    told = json.loads(call("lock", str(FIXTURES / path)).stdout)
    assert told["ties"] == ties
    assert told["tensors"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["gone.pt"], 3, "No such file"),
        ([f"{PARAMS}::gone"], 3, "no state dicts are called 'gone'"),
        ([PARAMS, "-o", "gone/x.json"], 3, "could not be written"),
        ([PARAMS, "--limit", "members=1"], 3, "members"),
        (["module:nothing"], 3, "no reference to code"),
        ([PARAMS, "--limit", "nothing=1"], 2, "no limit"),
        ([PARAMS, "--timeout", "0"], 2, "timeout"),
        ([], 2, "Missing argument"),
    ],
)
def test_errors_are_one_line(args: list[str], code: int, says: str) -> None:
    result = call("lock", *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in result.stderr
    assert code == 2 or result.stderr.count("\n") == 1


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "many", {f"{'n' * 900}{i}": (i,) for i in range(600)})
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "ckptaudit", "lock", str(path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(timeout=60) == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_full_disk() -> None:
    with open("/dev/full", "wb") as full:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "ckptaudit", "lock", PARAMS]
        child = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, env=env)
    assert child.returncode == 3
    assert b"could not be written: No space left" in child.stderr
