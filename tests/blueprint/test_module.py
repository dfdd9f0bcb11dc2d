from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from ckptaudit.blueprint import Blueprint, child, load
from ckptaudit.blueprint import module as module_reference
from ckptaudit.errors import CkptAuditError
from ckptaudit.isolated import ChildError
from ckptaudit.isolated.inside import RefusalError

# As much of torch as the child needs before it looks at a model: starting it takes no time.
NO_TORCH = """
    from contextlib import nullcontext
    class nn:
        class Module: pass
    def device(name): return nullcontext()
"""
ENDS = """
    import os, subprocess, sys, threading, time
    def raises(): raise ValueError("no such size")
    def leaves(): sys.exit(3)
    def leaves_cleanly(): sys.exit()
    def drops(): os._exit(7)
    def dies(): os.kill(os.getpid(), 9)
    def function(): return lambda x: x
    number = 3
    def prints():
        for _ in range(20_000): print("loading", "." * 40)
        return function
    def moves():
        os.chdir("/")
        return 1
    def threads():
        threading.Thread(target=time.sleep, args=(60,)).start()
        return 1
    def hangs():
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        with open(os.environ["MARK"], "w") as out: out.write(f"{os.getpid()} {other.pid}")
        time.sleep(60)
"""


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with code, to be started in, where torch is a stand-in."""
    write(tmp_path, torch=NO_TORCH, own=ENDS)
    monkeypatch.chdir(tmp_path)
    paths = (str(Path(child.__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    return tmp_path


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("own:raises", r"ValueError: no such size \(own.py, line 3\)"),
        ("own:gone", "AttributeError: .*no attribute 'gone'"),
        ("absent:f", "ModuleNotFoundError: No module named 'absent'"),
        ("own:function", "function gives a function, not an nn.Module"),
        ("own:number", "number gives a int, not an nn.Module"),
        ("own:prints", "prints gives a function"),
        ("own:moves", "moves gives a int"),
        ("own:threads", "threads gives a int"),
        ("own:leaves", r"no answer \(exit code 3\)"),
        ("own:leaves_cleanly", r"no answer \(exit code 0\)"),
        ("own:drops", r"no answer \(exit code 7\)"),
        pytest.param(
            "own:dies", r"no answer \(signal 9\)", marks=pytest.mark.skipif(os.name == "nt", reason="")
        ),
    ],
)
def test_code_that_gives_no_model(
    quick: Path, capfd: pytest.CaptureFixture[str], target: str, reason: str
) -> None:
    start = time.perf_counter()
    with pytest.raises(CkptAuditError, match=reason) as caught:
        load(f"module:{target}")
    assert caught.value.path == f"module:{target}"
    assert time.perf_counter() - start < 30
    assert capfd.readouterr().out == ""  # what it prints is not ours to say


@pytest.mark.skipif(os.name == "nt", reason="no process groups")
def test_code_that_hangs_is_ended_with_all_that_it_started(
    quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = quick / "mark"
    monkeypatch.setenv("MARK", str(mark))
    with pytest.raises(CkptAuditError, match="still at work after 4 s; raise --timeout"):
        load("module:own:hangs", seconds=4)
    for process in map(int, mark.read_text().split()):
        assert is_gone(process)


def is_gone(process: int) -> bool:
    for _ in range(50):
        try:
            os.kill(process, 0)
            # Ended, and not yet fetched by whoever took it over.
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.1)
    return False


def test_it_starts_where_the_settings_are(
    quick: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    below = tmp_path / "below"
    write(below, torch=NO_TORCH)
    monkeypatch.chdir(below)
    with pytest.raises(CkptAuditError, match="No module named 'own'"):
        load("module:own:number")
    with pytest.raises(CkptAuditError, match="gives a int"):
        load("module:own:number", folder=str(tmp_path))


@pytest.mark.parametrize(
    "target", ["", "own", "own:", ":f", "own:f()", "own.:f", "../own:f", "-c:f", "own:f:g"]
)
def test_no_reference_to_code(target: str) -> None:
    with pytest.raises(CkptAuditError, match="no reference to code"):
        load(f"module:{target}")


MODELS = """
    import torch
    from torch import nn
    from .parts import Head

    class Extra(nn.Linear):
        def get_extra_state(self): return {"scale": 1}
        def set_extra_state(self, state): pass

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte = nn.Embedding(5, 2)
            self.lm_head = nn.Linear(2, 5, bias=False)
            self.lm_head.weight = self.wte.weight
            self.same = nn.Linear(2, 5, bias=False)

    class Loses(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("kept", torch.ones(2))
            self.register_buffer("mask", torch.ones(3), persistent=False)
            self.register_buffer("nothing", None, persistent=False)
            self.constant = torch.rand(4)
            self.again = self.kept
            self.parts = [nn.Linear(1, 2, bias=False), nn.ReLU()]
            deep = [(torch.ones(7),)]
            self.named = {"a": nn.Linear(2, 1, bias=False), "w": nn.Parameter(torch.ones(6)), "deep": deep}
            self.inner = nn.Sequential(nn.Linear(1, 1))
            self.layers = [self.inner[0]]
            self.half = torch.ones(2, dtype=torch.float16)

    def real_numbers():
        return nn.Linear(2, int(torch.ones(3).sum().item()))

    def lazy(): return nn.Sequential(nn.LazyLinear(3), nn.BatchNorm1d(3))
    def tied_lazy():
        layer = nn.LazyLinear(3)
        return nn.Sequential(layer, layer)
    def huge(): return nn.Linear(2**20, 2**20)
    def extra(): return nn.ModuleDict({"fp8": Extra(1, 1)})
    def recurrent(): return nn.LSTM(2, 3)
    def head(): return Head()
    class Space:
        @staticmethod
        def build(): return nn.Linear(1, 2)
    made = nn.Linear(3, 4)
    class Fails(nn.Module):
        def state_dict(self, *args, **more): raise RuntimeError("not ready")
"""
PARTS = """
    from torch import nn
    class Head(nn.Linear):
        def __init__(self): super().__init__(2, 3)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same answers without a child for each, which would import torch anew."""
    pytest.importorskip("torch", reason="the child imports it")
    write(tmp_path, nets____init__="", nets__models=MODELS, nets__parts=PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    invalidate_caches()
    path = list(sys.path)

    def ask(name: str, request: dict[str, Any], subject: str, seconds: float, folder: str) -> dict[str, Any]:
        try:
            return child.describe(request)
        except RefusalError as refusal:
            raise ChildError(subject, str(refusal)) from None

    monkeypatch.setattr(module_reference, "ask", ask)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.split(".")[0] == "nets"]:
        del sys.modules[name]


def described(factory: str) -> Blueprint:
    return load(f"module:nets.models:{factory}")


def shapes(found: Blueprint) -> dict[str, tuple[int, ...] | None]:
    return {key: each.shape for key, each in found.tensors.items()}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("factory", "name", "tensors"),
    [
        ("head", "Head", {"weight": (3, 2), "bias": (3,)}),
        ("Space.build", "Linear", {"weight": (2, 1), "bias": (2,)}),
        ("made", "Linear", {"weight": (4, 3), "bias": (4,)}),
        ("real_numbers", "Linear", {"weight": (3, 2), "bias": (3,)}),
        ("huge", "Linear", {"weight": (2**20, 2**20), "bias": (2**20,)}),
        ("extra", "ModuleDict", {"fp8.weight": (1, 1), "fp8.bias": (1,)}),
        ("tied_lazy", "Sequential", dict.fromkeys(("0.weight", "0.bias", "1.weight", "1.bias"))),
    ],
)
def test_models(factory: str, name: str, tensors: dict[str, tuple[int, ...]]) -> None:
    found = described(factory)
    assert (found.name, shapes(found)) == (name, tensors)


@pytest.mark.usefixtures("here")
def test_facts_of_models() -> None:
    assert described("extra").other_keys == ("fp8._extra_state",)
    assert described("Tied").ties == (("wte.weight", "lm_head.weight"),)
    lazy = described("lazy")
    assert lazy.tensors["0.weight"].shape is None
    assert lazy.tensors["1.num_batches_tracked"].dtype == "int64"
    assert described("recurrent").lost == {}


@pytest.mark.usefixtures("here")
def test_what_is_lost_on_save() -> None:
    lost = {key: (each.shape, each.dtype, each.why) for key, each in described("Loses").lost.items()}
    assert lost == {
        "mask": ((3,), "float32", "non-persistent buffer"),
        "constant": ((4,), "float32", "plain attribute"),
        "parts.0.weight": ((2, 1), "float32", "in a plain container"),
        "named.a.weight": ((1, 2), "float32", "in a plain container"),
        "named.w": ((6,), "float32", "in a plain container"),
        "named.deep.0.0": ((7,), "float32", "in a plain container"),
        "half": ((2,), "float16", "plain attribute"),
    }


@pytest.mark.usefixtures("here")
def test_a_model_whose_state_dict_fails() -> None:
    with pytest.raises(CkptAuditError, match=r"its state_dict\(\) fails: RuntimeError: not ready"):
        described("Fails")


def test_in_a_child_with_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="the child imports it")
    write(tmp_path, nets____init__="print('hello' * 30_000)", nets__models=MODELS, nets__parts=PARTS)
    monkeypatch.chdir(tmp_path)
    paths = (str(Path(child.__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    found = described("Tied")
    assert found.ties == (("wte.weight", "lm_head.weight"),)
    assert found.reference == "module:nets.models:Tied"
