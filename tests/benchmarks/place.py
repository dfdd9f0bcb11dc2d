"""Bringing 1 GB of weights into a model: time against torch.load(mmap=True) and load_state_dict(assign=True),
and peak memory. `python tests/benchmarks/place.py [--gigabytes 1] [--runs 5]`

Every figure is a process of its own, its imports and the model's construction left out; ours and torch's take
turns. The model is built on the meta device, or with real memory where that is said.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WIDTH = 4096
_LAYER = 4 * _WIDTH * (_WIDTH + 1)  # bytes


def net(layers: int) -> Any:
    """So many square Linear layers in a row."""
    from torch import nn

    return nn.Sequential(*(nn.Linear(_WIDTH, _WIDTH) for _ in range(layers)))


def by_torch(path: str, model: Any) -> Any:
    import torch

    model.load_state_dict(torch.load(path, mmap=True), assign=True)
    return model


def made_by_torch(path: str, model: Any) -> Any:
    """With the construction of the model, which `alone` has to make itself."""
    import torch

    with torch.device("meta"):
        model = net(len(model))
    return by_torch(path, model)


def by_us(path: str, model: Any) -> Any:
    from ckptaudit.rebuild import rebuild

    return rebuild(path, model=model).module


def from_file_alone(path: str, model: Any) -> Any:
    from ckptaudit.rebuild import rebuild

    return rebuild(path).module


WAYS: dict[str, Callable[[str, Any], Any]] = {
    "torch": by_torch,
    "ours": by_us,
    "made": made_by_torch,
    "alone": from_file_alone,
}


def child(way: str, device: str, path: str, small: str, layers: int) -> None:
    """Load once, run once, and print the seconds and the peak of memory in bytes."""
    import resource
    from time import perf_counter

    import torch

    with torch.device("meta"):
        WAYS[way](small, net(1))  # what is imported on first use
    with torch.device(device):
        model = net(layers)
    begin = perf_counter()
    model = WAYS[way](path, model)
    seconds = perf_counter() - begin
    with torch.inference_mode():
        torch.nn.Sequential.forward(model, torch.ones(1, _WIDTH)) if way != "alone" else _touch(model)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([seconds, peak]))


def _touch(model: Any) -> None:
    for tensor in model.state_dict().values():
        tensor.sum()


def run(*args: str) -> list[float]:
    """One figure of a process of its own: seconds, and bytes."""
    line = [sys.executable, __file__, "--child", *args]
    done = subprocess.run(line, check=True, capture_output=True, text=True)
    found: list[float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child[:4], int(given.child[4]))
        return
    import torch

    layers = max(1, round(given.gigabytes * 1e9 / _LAYER))
    with tempfile.TemporaryDirectory() as folder:
        big, small = str(Path(folder) / "big.pt"), str(Path(folder) / "small.pt")
        torch.save(net(layers).state_dict(), big)
        torch.save(net(1).state_dict(), small)
        print(f"{layers} layers, {layers * _LAYER / 1e9:.2f} GB; medians of {given.runs} runs")
        for device in ("meta", "cpu"):
            compare(device, big, small, layers, given.runs)


def compare(device: str, big: str, small: str, layers: int, runs: int) -> None:
    ways = WAYS if device == "meta" else ["torch", "ours"]
    rows: dict[str, list[list[float]]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, found in rows.items():
            found.append(run(way, device, big, small, str(layers)))
    for way, found in rows.items():
        peer = rows["made" if way in ("made", "alone") else "torch"]
        base = statistics.median(seconds for seconds, _ in peer)
        seconds = statistics.median(each for each, _ in found)
        peak = statistics.median(each for _, each in found)
        print(
            f"{device:5} {way:6} {seconds * 1000:8.1f} ms  {base / seconds:5.2f}x the speed of torch   "
            f"peak {peak / 1e9:.2f} GB, {peak / (layers * _LAYER):.2f} of the weights"
        )


if __name__ == "__main__":
    main()
