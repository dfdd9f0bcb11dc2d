"""Dense tensors in one step each: the arguments of `_rebuild_tensor_v2` as torch.save writes them.

Nearly all opcodes of a checkpoint are the same 26 over and over: a persistent id, an offset, sizes,
strides, a flag and an empty OrderedDict, each put into the memo. `Dense.run` recognises them at their two
MARKs and does to the state what they would do one by one, in their order. Whatever is written otherwise,
or would stop the machine somewhere inside, is left to the opcodes themselves.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from struct import Struct
from typing import Any

from ckptaudit.readers.pickle.state import State
from ckptaudit.readers.pickle.symbols import Call, Global

_INT = rb"(?:K.|M..|J...[\0-\x7f])"  # none below zero
_TUPLE = rb"(?:%(i)s\x85|%(i)s%(i)s\x86|%(i)s%(i)s%(i)s\x87|\(%(i)s{4,16}t)" % {b"i": _INT}
_GET = rb"(?:h.|j....)"
_PUT = rb"r(....)"
_TENSOR = re.compile(
    rb"\(\((" + _GET + _GET + rb")"  # 'storage', FloatStorage
    + rb"X(.)\0\0\0([0-9]{1,24})" + _PUT  # the storage's key
    + rb"(" + _GET + _INT + rb"N?)t" + _PUT + rb"Q"  # device, elements, None in legacy files
    + rb"(" + _INT + _TUPLE + rb")" + _PUT + rb"(" + _TUPLE + rb")" + _PUT  # offset, sizes, strides
    + rb"([\x88\x89]" + _GET + rb")\)Rr....tr....Rr....",  # requires_grad, OrderedDict(), the call
    re.DOTALL,
).match  # fmt: skip
_TOKEN = re.compile(rb"[hK].|M..|[jJ]....|[N\x88\x89]", re.DOTALL)
_PUTS, _LAST_PUTS = Struct("<4I").unpack, Struct("<IxxIxxI").unpack_from
_LAST_WIDTH = 16
_BEFORE_NAME, _AFTER_NAME = Struct("<cI").unpack_from, Struct("<cIcB2s").unpack_from
_CONSTANTS: dict[bytes, bool | None] = {b"N": None, b"\x88": True, b"\x89": False}
_OBJECTS = 9  # made for each tensor, in the units of Limits.objects
_MOST = 5000  # tensors in a row, before the limits are looked at


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
    return int.from_bytes(token[1:], "little")


class Dense:
    """The steps, with what was spelt before."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.count = 0
        self.makers: set[tuple[Global, Global]] = set()  # what made the tensors, and their hooks
        self._pairs = _Spelt(lambda *values: values)
        self._places = _Spelt(lambda device, *rest: (device, rest))
        self._sizes = _Spelt(lambda offset, *shape: (offset, shape))

    def run(self, pos: int, stack: list[Any]) -> int:
        """Make one call after the other, from the two MARKs at `pos`; the position after the last of them.

        Each replaces the function on `stack`. Where a tensor is followed by the name of the next one, as in a
        state dict, that is pushed too. It is `pos` itself where the opcodes must go their own way at once.
        """
        data, memo, persistent = self._state.data, self._state.memo, self._state.persistent
        pairs, places, offsets = self._pairs, self._places, self._sizes
        for _ in range(_MOST):
            match = _TENSOR(data, pos)
            func = stack[-1]
            if match is None or type(func) is not Global or func.calls_back:
                return pos
            (kind, width, digits, key_at, place, pid_at, sizes, sizes_at, strides, strides_at,
             flag) = match.groups()  # fmt: skip
            tag, kind = pairs[kind]
            device, rest = places[place]
            grad, hooks = pairs[flag]
            end = match.end()
            a, b, c, d = _PUTS(key_at + pid_at + sizes_at + strides_at)
            e, f, g = _LAST_PUTS(data, end - _LAST_WIDTH)
            fresh = tag < a > kind and device < a > hooks and a < b < c < d < e < f < g
            if width[0] != len(digits) or not fresh:
                return pos
            try:
                maker, key = memo[hooks], digits.decode()
                pid = (memo[tag], memo[kind], key, memo[device], *rest)
            except KeyError:
                return pos
            if type(maker) is not Global or maker.calls_back or maker.made_only:
                return pos
            offset, shape = offsets[sizes]
            stride = pairs[strides]
            func.called = maker.called = True
            self.count += 1
            self.makers.add((func, maker))
            made = Call(maker, (), 0)
            args = (persistent(pid), offset, shape, stride, grad, made)
            stack[-1] = call = Call(func, args, 0, "dense")
            memo[a], memo[b], memo[c], memo[d] = key, pid, shape, stride
            memo[e], memo[f], memo[g] = made, args, call
            self._state.objects += _OBJECTS
            pos = self._next_name(end, stack)
            if pos == end:
                break
        return pos

    @property
    def widths(self) -> set[int]:
        """How many parts the persistent ids have."""
        return {4 + len(rest) for _, rest in self._places.values()}

    @property
    def graded(self) -> bool:
        """Whether one of the tensors requires a gradient."""
        return any(flag is True for flag, *_ in self._pairs.values())

    def _next_name(self, pos: int, stack: list[Any]) -> int:
        """Push a name, put into the memo, and a function from it, that stand before another two MARKs."""
        data, memo = self._state.data, self._state.memo
        try:
            string, width = _BEFORE_NAME(data, pos)
            end: int = pos + 5 + width
            put, at, get, entry, marks = _AFTER_NAME(data, end)
            if string != b"X" or put != b"r" or get != b"h" or marks != b"((" or entry not in memo:
                return pos
            name = data[pos + 5 : end].decode("utf-8", "surrogatepass")
        except (struct.error, UnicodeDecodeError):
            return pos
        stack.append(name)
        memo[at] = name
        stack.append(memo[entry])
        return end + 7
