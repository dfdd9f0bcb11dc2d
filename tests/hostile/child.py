"""Reads files in a process of its own and tells what became of each, one JSON line a file.

`python -m tests.hostile.child SECONDS FILE...`: more than SECONDS of processor time end the process. An
audit hook counts what nothing in a file may bring about.
"""

from __future__ import annotations

import codecs
import json
import resource
import sys
import traceback
from importlib import import_module
from typing import Any

from ckptaudit import readers
from ckptaudit.errors import CkptAuditError
from ckptaudit.readers.pickle.policy import verdict

_GUARD = 3 * 2**30  # bytes of address space: keeps a failing test from taking the machine with it
_RUNS = ("exec", "compile", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn",
"subprocess.Popen",
         "socket.connect", "socket.getaddrinfo", "pickle.find_class", "ctypes.dlopen", "marshal.loads",
         "object.__setattr__", "os.remove", "os.rename", "os.mkdir", "shutil.rmtree")  # fmt: skip


def main(seconds: int, paths: list[str]) -> None:
    """Read each of `paths`."""
    for name in (*readers.READERS, "pickle.embedded"):  # so that what the hook sees is the files' own doing
        import_module(f"ckptaudit.readers.{name}")
    for name in ("ckptaudit.readers.sharded", "ckptaudit.readers.foreign", "tarfile"):
        import_module(name)
    for codec in ("unicode_escape", "raw_unicode_escape", "latin-1", "ascii", "utf-8"):
        codecs.lookup(codec)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_GUARD, _GUARD))
    seen: list[str] = []
    allowed = set(paths)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event in _RUNS or (event == "import" and args[0] not in sys.modules):
            seen.append(f"{event} {args[:1]!r}")
        elif event == "open" and isinstance(args[0], str) and args[0] not in allowed:
            seen.append(f"open {args[0]!r}")

    sys.addaudithook(hook)
    for path in paths:
        seen.clear()
        told = _read(path)
        told["events"] = list(seen)
        told["megabytes"] = _peak()
        print(json.dumps(told), flush=True)


def _peak() -> int:
    # Not ru_maxrss: a process inherits that from the one that started it.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


def _read(path: str) -> dict[str, Any]:
    told: dict[str, Any] = {"error": "", "traceback": "", "problems": [], "globals": [], "tensors": 0}
    try:
        checkpoint = readers.read(path)
        for problem in checkpoint.problems[:100]:
            told["problems"].append([problem.code, problem.detail[:2000]])
        told["count"] = len(checkpoint.problems)
        for found in checkpoint.globals:
            judged = verdict(found.module, found.name)
            if len(told["globals"]) < 1000:
                told["globals"].append(
                    [f"{found.module}.{found.name}"[:2000], judged, found.called, found.instance]
                )
        told["tensors"] = len(checkpoint.tensors)
    except CkptAuditError as error:
        told["error"] = str(error)[:2000]
    except BaseException as error:
        told["traceback"] = "".join(traceback.format_exception(error, limit=-3))[-1500:]
    return told


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
