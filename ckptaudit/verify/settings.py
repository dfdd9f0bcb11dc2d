"""How models are run here, so that two runs can be equal in every bit; all is put back afterwards."""

from __future__ import annotations

import os
import platform
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from ckptaudit.verify.leaves import digest
from ckptaudit.verify.lib import library

# Operations of cuBLAS are deterministic with this only, and it is read when CUDA starts
# (https://docs.nvidia.com/cuda/cublas/#results-reproducibility).
_WARN = 1  # deterministic where there is a way to be, else a warning
CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def steady(threads: int) -> Iterator[dict[str, Any]]:
    """Deterministic algorithms, TF32 off, no fast paths, this many threads; gives what was set."""
    torch = library()
    os.environ.setdefault(*CUBLAS)
    with ExitStack() as after:
        for get, put, value in _switches(torch, threads):
            after.callback(put, get())
            put(value)
        after.callback(_restore_random(torch))
        yield {
            "eval": True,
            "deterministic_algorithms": True,
            "cudnn_deterministic": True,
            "tf32": False,
            "fast_path": False,
            "threads": threads,
        }


_Switch = tuple[Callable[[], Any], Callable[[Any], Any], Any]


def _switches(torch: Any, threads: int) -> list[_Switch]:
    """Getter, setter and the value that is wanted."""

    def attribute(holder: Any, name: str, value: Any) -> _Switch:
        return (lambda: getattr(holder, name)), (lambda new: setattr(holder, name, new)), value

    return [
        (torch.get_num_threads, torch.set_num_threads, threads),
        # use_deterministic_algorithms does the same, and imports a compiler, which takes as long as torch.
        (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, _WARN),
        attribute(torch.backends.cudnn, "deterministic", True),
        attribute(torch.backends.cudnn, "benchmark", False),
        attribute(torch.backends.cudnn, "allow_tf32", False),
        attribute(torch.backends.cuda.matmul, "allow_tf32", False),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        (torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, False),
    ]


def _restore_random(torch: Any) -> Callable[[], None]:
    state, own = torch.get_rng_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def restore() -> None:
        torch.set_rng_state(state)
        random.setstate(own)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    return restore


def seed_all(seed: int) -> None:
    """Seed torch on every device, `random`, and numpy where the model has imported it."""
    torch = library()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for devices of all kinds each time
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    random.seed(seed)
    if (numpy := sys.modules.get("numpy")) is not None:
        numpy.random.seed(seed % 2**32)


def random_state() -> tuple[object, ...]:
    """What changes once a random number is drawn."""
    torch = library()
    states = [digest(torch.get_rng_state())]
    if torch.cuda.is_initialized():
        states += [digest(each) for each in torch.cuda.get_rng_state_all()]
    numpy: Any = sys.modules.get("numpy")
    drawn = str(numpy.random.get_state()) if numpy is not None else ""
    return (*states, random.getstate(), drawn)


def environment(device: str) -> dict[str, Any]:
    """What else decides the bits of an output: two runs are only comparable bit by bit where it agrees."""
    torch = library()
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "device": device.partition(":")[0],
        "machine": platform.machine(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled),
    }
    if device.startswith("cuda"):
        found["device_name"] = torch.cuda.get_device_name(device)
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[str, ...]:
    """The names under which two environments or settings differ."""
    return tuple(sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)))
