"""Files, factories and records for the tests of verification."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import torch

from ckptaudit.isolated import ChildError
from ckptaudit.isolated.inside import RefusalError, told
from ckptaudit.verify import child

CODE = """
    import os, random, time
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, slope=0.1):
            super().__init__()
            self.first = nn.Linear(6, 8)
            self.act = nn.LeakyReLU(slope)
            self.last = nn.Linear(8, 3)
        def forward(self, x):
            return self.last(self.act(self.first(x)))

    class Lost(Net):
        def __init__(self):
            super().__init__()
            self.rand_weight = torch.rand(8)
        def forward(self, x):
            return self.last(self.act(self.first(x)) * self.rand_weight)

    class Hidden(Net):  # random, and in no tensor that hangs on the module
        def __init__(self):
            super().__init__()
            drawn = torch.rand(8)
            self.spread = lambda x: x * drawn
        def forward(self, x):
            return self.last(self.spread(self.act(self.first(x))))

    class Garbage(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("noise", torch.empty(8), persistent=False)
        def forward(self, x):
            return self.last(self.act(self.first(x)) + self.noise)

    class Alpha(Net):
        def __init__(self):
            super().__init__()
            self.alpha = random.random()
        def forward(self, x):
            return super().forward(x) * self.alpha

    class More(Net):
        def __init__(self):
            super().__init__()
            self.more = nn.Linear(3, 3)
        def forward(self, x):
            return self.more(super().forward(x))

    class Tied(Net):
        def __init__(self):
            super().__init__()
            self.twin = nn.Linear(6, 8)
            self.twin.weight = self.first.weight
        def forward(self, x):
            return super().forward(x) + self.twin(x).sum()

    class Drops(Net):  # has what the file has for the last bias, and keeps its own
        def load_state_dict(self, state, strict=True, assign=False):
            return super().load_state_dict({**state, "last.bias": self.last.bias.data}, strict, assign)

    class TiedHalf(Tied):
        def __init__(self):
            super().__init__()
            self.half()

    class Ordered(Net):  # in the order of a set of texts
        def __init__(self):
            super().__init__()
            names = enumerate({"first", "last", "act"})
            self.order = [float(place) for place, name in names if name == "act"]
        def forward(self, x):
            return super().forward(x) * (1 + self.order[0])

    def elsewhere():
        os.chdir("/")
        return Net()
    def steep(): return Net(0.2)
    def dropping(): return nn.Sequential(nn.Linear(6, 8), Forever())
    class Forever(nn.Module):
        def forward(self, x): return nn.functional.dropout(x, 0.5)
    def prints():
        print("{ not json", flush=True)
        os.write(1, b"more of it")
        return Net()
    def dies(): os.kill(os.getpid(), 9)
    def hangs(): time.sleep(100)
    def raises(): raise ValueError("no such size")
"""


def here(child_name: str, request: Mapping[str, Any], subject: str, seconds: float, **ignored: object) -> Any:
    """What a process would answer, without one: nothing is imported anew."""
    try:
        return child.answer(json.loads(json.dumps(dict(request))))
    except RefusalError as refusal:
        raise ChildError(subject, str(refusal), remedy=refusal.remedy) from refusal
    except Exception as error:
        raise ChildError(subject, told(error)) from error


def write_code(folder: Path) -> None:
    (folder / "own_nets.py").write_text(dedent(CODE))


def state(**changes: float) -> dict[str, torch.Tensor]:
    """A state dict of Net; `first__weight=0.5` adds to an element of first.weight."""
    draw = torch.Generator().manual_seed(1)
    shapes = {"first.weight": (8, 6), "first.bias": (8,), "last.weight": (3, 8), "last.bias": (3,)}
    made = {key: torch.randn(shape, generator=draw) for key, shape in shapes.items()}
    for name, value in changes.items():
        made[name.replace("__", ".")].view(-1)[1] += value
    return made


def save(path: Path, **changes: float) -> str:
    torch.save(state(**changes), path)
    return str(path)
