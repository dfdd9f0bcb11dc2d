"""Would torch.load(weights_only=True) of torch 2.13 accept this pickle? And if not, what stands against it.

torch's restricted unpickler (torch/_weights_only_unpickler.py) knows only the opcodes that torch.save
writes, only the names of `policy.WEIGHTS_ONLY`, and changes only objects of its own types. Calls that it
allows are taken to succeed.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle.machine import Pickled
from ckptaudit.readers.pickle.policy import DTYPE_NAMES, WEIGHTS_ONLY, accepted_by_torch
from ckptaudit.readers.pickle.symbols import Global

_VALUES = DTYPE_NAMES | {"per_tensor_affine", "per_channel_affine", "per_tensor_symmetric"}
# The device types that torch 2.13 can put a storage on, here or on another machine.
_DEVICES = frozenset(
    {"cpu", "cuda", "hip", "hpu", "ipu", "lazy", "maia", "meta", "mps", "mtia", "privateuseone", "ve"}
    | {"vulkan", "xla", "xpu"}
)
_SETTABLE = frozenset({("collections", "OrderedDict"), ("collections", "Counter")})


# Problems that make torch.load itself fail, whatever it is allowed.
_FATAL = frozenset({"malformed-file", "missing-record", "tensor-outside-storage", "storage-size-mismatch"})


def accepted(pickled: Pickled, draft: Draft) -> bool | None:
    """Whether torch.load(weights_only=True) would return the object; `draft` holds what else is wrong.

    None where a limit of ours kept us from reading on: torch has no such limits.
    """
    if any(problem.code == "limit-reached" for problem in draft.problems):
        return None
    if any(problem.code in _FATAL for problem in draft.problems):
        return False
    devices = {storage.device.partition(":")[0] for storage in draft.storages.values()}
    return devices <= _DEVICES and next(obstacles(pickled), None) is None


def obstacles(pickled: Pickled) -> Iterator[str]:
    """What makes torch refuse the pickle; nothing where it would be accepted."""
    if pickled.fault is not None:
        yield pickled.fault.reason
    for found in pickled.globals:
        if not accepted_by_torch(found.module, found.name):
            yield f"{found.module}.{found.name}"
        if found.called and found.module == "torch" and found.name in _VALUES:
            yield f"torch.{found.name} is called, and is no function"
    for opcode in sorted(pickled.rare):
        yield f"opcode 0x{opcode:02x}"
    for use, func in pickled.uses:
        if not _allowed(use, func):
            yield f"{use} of an object that torch does not allow"
    if any(type(call.func) is not Global for call in pickled.indirect):
        yield "the result of a call is called"
    if pickled.oddities:
        yield pickled.oddities[0][1]


def _allowed(use: str, func: object) -> bool:
    if type(func) is not Global:
        return False
    if use == "setitems":
        return (func.module, func.name) in _SETTABLE
    return use in ("build", "newobj") and func.name in WEIGHTS_ONLY.get(func.module, ())
