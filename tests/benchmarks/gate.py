"""What `ckptaudit check` costs beside `ckptaudit inspect`, and for many small files: whole processes.

`python tests/benchmarks/gate.py [--runs N] [--files N]` prints ratios and times; nothing is asserted. Measure
an installed copy: without cached bytecode, start-up is longer.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from statistics import median

from ratios import cost

FIXTURES = Path(__file__).parents[2] / "fixtures"
FILES = ("mlp.params", "tiny_gpt.pt", "mlp.safetensors")


def ratio(file: Path, runs: int) -> tuple[float, float]:
    """Median seconds of `check` and of `inspect --format json`, in turn, after one round to warm up."""
    check = ["-m", "ckptaudit", "check", "--no-config", str(file)]
    inspect = ["-m", "ckptaudit", "inspect", "--format", "json", str(file)]
    rounds = [(cost(check).seconds, cost(inspect).seconds) for _ in range(runs + 1)][1:]
    ours, theirs = zip(*rounds, strict=True)
    return median(ours), median(theirs)


def each(file: Path, count: int, runs: int, jobs: int) -> float:
    """Seconds that each of `count` copies of a file takes beyond start-up."""
    with tempfile.TemporaryDirectory() as folder:
        for index in range(count):
            shutil.copyfile(file, Path(folder, f"{index}{file.suffix}"))
        many = ["-m", "ckptaudit", "check", "--no-config", "--jobs", str(jobs), folder]
        one = ["-m", "ckptaudit", "check", "--no-config", str(Path(folder, f"0{file.suffix}"))]
        rounds = [(cost(many).seconds, cost(one).seconds) for _ in range(runs + 1)][1:]
        return median(whole - start for whole, start in rounds) / (count - 1)


def main() -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="rounds a file (default: 7)")
    parser.add_argument("--files", type=int, default=1000, metavar="N", help="copies (default: 1000)")
    options = parser.parse_args()
    for name in FILES:
        check, inspect = ratio(FIXTURES / name, options.runs)
        print(
            f"{name:16} check {check:.3f} s, inspect --format json {inspect:.3f} s: {check / inspect:.2f}x",
            flush=True,
        )
        for jobs in (1, 2):
            seconds = each(FIXTURES / name, options.files, options.runs, jobs)
            print(f"{'':16} {options.files:,} copies, {jobs} jobs: {seconds * 1000:.2f} ms each", flush=True)


if __name__ == "__main__":
    main()
