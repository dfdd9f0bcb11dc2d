"""`ckptaudit rebuild` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ckptaudit.cli.rebuild import command

pytest.importorskip("torch", reason="rebuilds modules")

from tests.oracle import FIXTURES

CODE = """
    import torch
    from torch import nn
    print("a line that no reader of ours may see")
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden, self.output = nn.Linear(20, 256), nn.Linear(256, 10)
    def closure():
        net = Net()
        return lambda x: net.output(net.hidden(x))
    def fails(): raise ValueError("no such size")
"""


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args])


def test_a_state_dict() -> None:
    done = run(FIXTURES / "mlp.params")
    assert done.exit_code == 0, done.output
    assert "typed skeleton: layer classes by inference" in done.stdout
    assert "Linear ×2  likely" in done.stdout
    assert "4 tensors, 31.0 KiB from the file" in done.stdout
    assert "raises:" in done.stdout


def test_json_of_a_whole_model() -> None:
    done = run(FIXTURES / "full_model_shared.pt", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["schema"] == "ckptaudit.rebuild/1"
    assert found["level"] == "exact config"
    assert found["cannot_run"] == []
    assert found["ties"] == [["2.weight", "4.weight"], ["2.bias", "4.bias"]]
    assert {source: share["tensors"] for source, share in found["loaded"].items()} == {
        "from_file": 6,
        "from_tie": 2,
        "from_init": 0,
        "computed": 0,
    }
    by_path = {module["path"]: module for module in found["modules"]}
    assert by_path["1"]["layer"] == "ReLU"
    assert by_path["2"]["config"]["in_features"] == 8


def test_devices() -> None:
    done = run(FIXTURES / "devices_missing.pt")
    assert done.exit_code == 0, done.output
    assert "tagged cuda:" in done.stdout
    done = run(FIXTURES / "mlp.params", "--device", "cuda:7")
    assert done.exit_code == 3
    assert "cuda:7: there is no such device here; there is: cpu" in done.stderr
    assert run(FIXTURES / "mlp.params", "--device", "auto").exit_code == 0


def test_written_again_and_as_source(tmp_path: Path) -> None:
    weights, source = tmp_path / "out.safetensors", tmp_path / "model.py"
    done = run(FIXTURES / "shared.pt", "--to", weights, "--emit", source)
    assert done.exit_code == 0, done.output
    compile(source.read_text(), "model.py", "exec")
    found = json.loads(run(weights, "--format", "json").stdout)
    assert [set(group) for group in found["ties"]] == [{"2.bias", "4.bias"}, {"2.weight", "4.weight"}]


def test_source_alone_on_stdout() -> None:
    done = run(FIXTURES / "full_model_rgnet.pt", "--emit", "-")
    assert done.exit_code == 0
    compile(done.stdout, "model.py", "exec")


def child(folder: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    (folder / "own_code.py").write_text("\n".join(line[4:] for line in CODE.splitlines()))
    paths = (str(FIXTURES.parent), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    line = [sys.executable, "-m", "ckptaudit", "rebuild", *map(str, args)]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_own_code_in_a_child(tmp_path: Path) -> None:
    done = child(tmp_path, FIXTURES / "mlp_out.pt", "--model", "own_code:Net", "--format", "json")
    found = json.loads(done.stdout)
    assert done.returncode == 1
    assert "a line that no reader" in done.stderr
    assert found["missing"] == ["output.weight", "output.bias"]
    done = child(
        tmp_path, FIXTURES / "mlp_out.pt", "--model", "own_code:Net", "--map", "out=output", "--to", "new.pt"
    )
    assert done.returncode == 0, done.stderr
    assert "identified" in done.stdout
    assert "out.weight -> output.weight" in done.stdout
    assert (tmp_path / "new.pt").exists()
    done = child(tmp_path, FIXTURES / "closure_network.pt::head", "--model", "own_code:closure")
    assert done.returncode == 3
    assert "closure gives a function, not an nn.Module" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["gone.pt"], 3, "No such file"),
        ([FIXTURES / "lfs_pointer.pt"], 3, "git-LFS pointer"),
        ([FIXTURES / "closure_network.pt"], 3, "could each be the model; name one"),
        ([FIXTURES / "mlp.params", "--model", "nothing"], 3, "no reference to code"),
        ([FIXTURES / "mlp.params", "--map", "a=b"], 2, "renames keys for --model"),
        ([FIXTURES / "mlp.params", "--model", "a:b", "--emit", "x.py"], 2, "takes no --model"),
        ([FIXTURES / "mlp.params", "--to", "no/such/folder/x.pt"], 3, "could not be written"),
    ],
)
def test_errors_are_one_line(args: list[str | Path], code: int, told: str) -> None:
    done = run(*args)
    assert done.exit_code == code
    assert told in done.stderr
    assert done.stdout == ""


def test_no_source_over_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "mlp.params"
    before = (FIXTURES / "mlp.params").read_bytes()
    path.write_bytes(before)
    done = run(path, "--emit", path)
    assert (done.exit_code, path.read_bytes()) == (2, before)
    assert run(path, "--to", tmp_path / "x.xyz").exit_code == 2


def test_a_killed_child_leaves_no_draft(tmp_path: Path) -> None:
    slow = "import time, torch\nfrom torch import nn\n"
    slow += "class Net(nn.Linear):\n    def __init__(self): super().__init__(20, 256)\n"
    slow += "    def state_dict(self, *a, **k):\n        time.sleep(60)\n"
    (tmp_path / "slow_code.py").write_text(slow)
    args = (FIXTURES / "mlp.params", "--model", "slow_code:Net", "--to", "out.pt", "--timeout", "15")
    assert child(tmp_path, *args).returncode == 3
    assert sorted(path.name for path in tmp_path.glob("out*")) == []


def test_what_hangs_in_plain_lists_is_not_in_place() -> None:
    done = run(FIXTURES / "full_model_python_list.pt")
    assert done.exit_code == 1
    assert "python_list.0.weight: in a plain container" in done.stdout
