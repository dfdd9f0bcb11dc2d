"""A dense tensor in one step: the arguments of `_rebuild_tensor_v2` as torch.save writes them.

Nearly all opcodes of a checkpoint are the same 26 over and over: a persistent id, an offset, sizes,
strides, a flag and an empty OrderedDict, each put into the memo. TENSOR recognises that run at its two
MARKs, and `step` does to the state what its opcodes would do one by one, in their order. Whatever is
written otherwise, or would stop the machine somewhere inside, is left to the opcodes themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from typing import Any

from ckptaudit.readers.pickle.state import State
from ckptaudit.readers.pickle.symbols import Call, Global

_INT = rb"(?:K.|M..|J....)"
_TUPLE = rb"(?:%(i)s\x85|%(i)s%(i)s\x86|%(i)s%(i)s%(i)s\x87|\(%(i)s{4,16}t)" % {b"i": _INT}
_GET = rb"(?:h.|j....)"
_PUT = rb"r(....)"
TENSOR = re.compile(
    rb"\(\((" + _GET + _GET + rb")"  # 'storage', FloatStorage
    + rb"X(.)\0\0\0([0-9]{1,24})" + _PUT  # the storage's key
    + rb"(" + _GET + _INT + rb"N?)t" + _PUT + rb"Q"  # device, elements, None in legacy files
    + rb"(" + _INT + _TUPLE + rb")" + _PUT + rb"(" + _TUPLE + rb")" + _PUT  # offset, sizes, strides
    + rb"([\x88\x89]" + _GET + rb")\)R" + _PUT  # requires_grad, OrderedDict()
    + rb"t" + _PUT + rb"R" + _PUT,
    re.DOTALL,
).match  # fmt: skip
_TOKEN = re.compile(rb"[hK].|M..|[jJ]....|[N\x88\x89]", re.DOTALL)
_PUTS = Struct("<7I").unpack
_CONSTANTS: dict[bytes, bool | None] = {b"N": None, b"\x88": True, b"\x89": False}
DENSE_OBJECTS = 8  # made in one step


class _Spelt(dict[bytes, Any]):
    """What a few opcodes in a row say, by their bytes: the same few are spelt again and again."""

    def __init__(self, make: Callable[..., Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, raw: bytes) -> Any:
        found = self[raw] = self._make(*(_value(token) for token in _TOKEN.findall(raw)))
        return found


def _value(token: bytes) -> int | bool | None:
    if token in _CONSTANTS:
        return _CONSTANTS[token]
    return int.from_bytes(token[1:], "little", signed=token[0] == 0x4A)


class Dense:
    """The step, with what it has read before."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._pairs = _Spelt(lambda *values: values)
        self._places = _Spelt(lambda device, *rest: (device, rest))
        self._sizes = _Spelt(lambda offset, *shape: (offset, shape))

    def step(self, match: re.Match[bytes], stack: list[Any]) -> bool:
        """Replace the function on `stack` by its call; False where the opcodes must go their own way."""
        (kind, width, digits, key_at, place, pid_at, sizes, sizes_at, strides, strides_at, flag, made_at,
         args_at, call_at) = match.groups()  # fmt: skip
        func, memo = stack[-1], self._state.memo
        if width[0] != len(digits) or type(func) is not Global or func.hands_out:
            return False
        tag, kind = self._pairs[kind]
        device, rest = self._places[place]
        grad, hooks = self._pairs[flag]
        a, b, c, d, e, f, g = _PUTS(key_at + pid_at + sizes_at + strides_at + made_at + args_at + call_at)
        if not (tag < a > kind and device < a > hooks and a < b < c < d < e < f < g):
            return False
        try:
            maker, key = memo[hooks], digits.decode()
            pid = (memo[tag], memo[kind], key, memo[device], *rest)
        except KeyError:
            return False
        if type(maker) is not Global or maker.hands_out:
            return False
        offset, shape = self._sizes[sizes]
        stride = self._pairs[strides]
        func.called = maker.called = True
        made = Call(maker, (), 0)
        args = (self._state.persistent(pid), offset, shape, stride, grad, made)
        stack[-1] = call = Call(func, args, 0, "dense")
        memo[a], memo[b], memo[c], memo[d] = key, pid, shape, stride
        memo[e], memo[f], memo[g] = made, args, call
        return True
