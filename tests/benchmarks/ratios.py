"""Whole-process cost of `ckptaudit inspect --format json FILE` against torch.load, as ratios of one run.

    python tests/benchmarks/ratios.py [--runs N] [--folder DIR]

Makes its own files (about 1.1 GB, in a folder that is removed afterwards), then runs the two commands by
turns, A B A B, and prints medians of the wall time, their ratio, and the largest resident memory of each.
It prints and judges nothing: machines differ, ratios of one run differ less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

# File name, what it shows.
FILES = {
    "mlp.params": "the state dict of a small MLP, 4 tensors",
    "20k.pt": "20,000 tensors, about 620,000 opcodes",
    "1mb.pt": "64 tensors, 1 MiB",
    "1gb.pt": "64 tensors, 1 GiB",
    "100k.pt": "100,000 tensors",
}
OURS = ["-m", "ckptaudit", "inspect", "--format", "json"]
THEIRS = ["-c", "import sys, torch; torch.load(sys.argv[1])"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process: wall time in seconds, largest resident memory in MiB."""

    seconds: float
    mebibytes: float


def make(folder: Path) -> None:
    """Write every file of FILES into `folder`."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    mlp = nn.ModuleDict({"hidden": nn.Linear(20, 256), "output": nn.Linear(256, 10)})
    torch.save(mlp.state_dict(), folder / "mlp.params")
    torch.save(_layers(torch, 20_000, 4), folder / "20k.pt")
    torch.save(_layers(torch, 64, 2**12), folder / "1mb.pt")
    torch.save(_layers(torch, 64, 2**22), folder / "1gb.pt")
    torch.save(_layers(torch, 100_000, 4), folder / "100k.pt")


def _layers(torch: Any, tensors: int, numel: int) -> dict[str, Any]:
    names = (f"layers.{index // 2}.{('weight', 'bias')[index % 2]}" for index in range(tensors))
    return {name: torch.zeros(numel) for name in names}


def cost(arguments: list[str]) -> Cost:
    """Run Python with `arguments`, its output thrown away. Raises CalledProcessError where it fails."""
    start = perf_counter()
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    # Linux counts in KiB, macOS in bytes.
    return Cost(seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))


def compare(file: Path, runs: int) -> tuple[Cost, Cost]:
    """Median time and largest memory of ours and theirs, after one round that only warms the caches."""
    rounds = [(cost([*OURS, str(file)]), cost([*THEIRS, str(file)])) for _ in range(runs + 1)][1:]
    ours, theirs = zip(*rounds, strict=True)
    return _summed_up(ours), _summed_up(theirs)


def _summed_up(costs: tuple[Cost, ...]) -> Cost:
    return Cost(median(cost.seconds for cost in costs), max(cost.mebibytes for cost in costs))


def report(folder: Path, runs: int) -> None:
    """Print one line a file, then what size alone costs."""
    print(f"{runs} rounds a file, medians of wall time; memory is the largest resident set")
    print(f"{'file':12}{'ckptaudit':>18}{'torch.load':>20}{'ratio':>9}  what")
    seconds = {}
    for name, what in FILES.items():
        ours, theirs = compare(folder / name, runs)
        seconds[name] = ours.seconds
        print(
            f"{name:12}{ours.seconds:8.3f} s{ours.mebibytes:5.0f} MiB{theirs.seconds:9.3f} s"
            f"{theirs.mebibytes:6.0f} MiB{theirs.seconds / ours.seconds:8.1f}x  {what}",
            flush=True,
        )
    print(f"ckptaudit, 1 GiB against 1 MiB: {seconds['1gb.pt'] / seconds['1mb.pt']:.2f}x the time")


def main() -> None:
    """Parse the options, make the files, measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="rounds a file (default: 7)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to put the files for a while")
    parser.add_argument("--make", type=Path, metavar="DIR", help="only write the files, into DIR")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    if options.make:
        make(options.make)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        # Not in this process: a child's memory is counted from its parent's on, which must stay small.
        subprocess.run([sys.executable, __file__, "--make", folder], check=True)
        report(Path(folder), options.runs)


if __name__ == "__main__":
    main()
