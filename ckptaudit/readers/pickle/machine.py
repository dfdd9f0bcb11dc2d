"""A pickle machine that builds symbols and runs nothing.

It reads what C `_pickle` reads (CPython's Modules/_pickle.c), not what `pickletools` thinks: the
first STOP ends it, a frame longer than the data is refused at once, numbers written as text follow
int(x, 0), names of Python 2 are mapped below protocol 3. Where C would raise, the machine stops with
the reason and keeps what had been built until then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from ckptaudit.limits import Limits
from ckptaudit.readers.pickle.dense import Dense
from ckptaudit.readers.pickle.opcodes import ARGUMENT_BYTES, COLD
from ckptaudit.readers.pickle.reach import mark_uses
from ckptaudit.readers.pickle.state import State, underflow
from ckptaudit.readers.pickle.symbols import Call, Global, Persistent, PickleError, Use

_U32 = struct.Struct("<I").unpack_from
_SLICE = 65_536  # opcodes between two looks at the limits


@dataclass(frozen=True, slots=True)
class Pickled:
    """What one pickle came to.

    `value` is the object at STOP, or the outermost one still being built where `fault` came first;
    `end` the position after the last opcode read. `indirect` are the calls of what another call gave, or
    of what hands out attributes; `uses` what was done with each sort of object besides plain calls;
    `escaped` the names that hand out others and are kept as values, for something else to call; `rare` the
    opcodes outside those that torch itself writes; `oddities` what its pickler never writes: (position,
    what), and `hostile` those among them that no pickler does. `calls` are all calls but those made in one
    step, which `dense` counts; `references` the persistent ids of the former.
    """

    value: Any
    data: bytes
    start: int
    end: int
    globals: tuple[Global, ...]
    indirect: tuple[Call, ...]
    escaped: tuple[Global, ...]
    uses: frozenset[tuple[Use, object]]
    rare: frozenset[int]
    oddities: tuple[tuple[int, str], ...]
    hostile: tuple[tuple[int, str], ...]
    fault: PickleError | None
    calls: list[Call]
    references: int
    dense: Dense


def run(
    data: bytes,
    start: int,
    limits: Limits,
    persistent: Callable[[object], object] = Persistent,
) -> Pickled:
    """Interpret the pickle that begins at byte `start` of `data`.

    `persistent` turns a persistent id into what the loader would put there. Raises
    nothing: what stops the pickle is the `fault` of the answer.
    """
    state = State(data, start, limits, persistent)
    fault = None
    dense = Dense(state)
    try:
        opcodes = 0
        while not _run_slice(state, dense):
            opcodes += _SLICE
            _check_limits(state, opcodes)
        value = state.result
        _check_limits(state, 0)
    except PickleError as caught:
        fault = caught
        value = state.result if state.result is not None else state.salvage()
    escaped = mark_uses([value], state.calls, state.names.values(), state.planted) if state.sensitive else []
    return Pickled(
        value=value,
        data=data,
        start=start,
        end=state.pos,
        globals=tuple(state.names.values()),
        indirect=tuple(state.indirect),
        escaped=tuple(escaped),
        uses=frozenset(state.uses),
        rare=frozenset(state.rare),
        oddities=tuple((position, what) for what, (position, _) in state.oddities.items()),
        hostile=tuple((position, what) for what, (position, hostile) in state.oddities.items() if hostile),
        fault=fault,
        calls=state.calls,
        references=state.references,
        dense=dense,
    )


def _check_limits(state: State, opcodes: int) -> None:
    if opcodes >= state.limits.opcodes:
        raise PickleError(f"more than {state.limits.opcodes:,} opcodes", limit="opcodes")
    slots = 2 * len(state.memo) + len(state.stack) + len(state.outer)
    if state.objects + slots > state.limits.objects:
        raise PickleError(f"more than {state.limits.objects:,} objects", limit="objects")


def _run_slice(state: State, dense: Dense) -> bool:
    """Run up to _SLICE opcodes; True once STOP was met."""
    try:
        return _hot_loop(state, dense)
    except IndexError:
        opcode = state.data[state.pos] if state.pos < len(state.data) else -1
        if opcode < 0 or state.pos + ARGUMENT_BYTES.get(opcode, 0) >= len(state.data):
            raise PickleError("the pickle ends before its STOP", truncated=True) from None
        raise underflow() from None
    except struct.error:
        raise PickleError("the pickle ends before its STOP", truncated=True) from None
    except KeyError as error:
        raise PickleError(f"memo entry {error.args[0]} was never stored") from None


def _hot_loop(state: State, dense: Dense) -> bool:
    # What torch writes most is handled here without a call for each opcode; everything else is a function
    # in COLD. `pos` stays on the opcode until it is done, so that a fault points at it.
    data, memo, outer, pos = state.data, state.memo, state.outer, state.pos
    stack: Any = state.stack  # untyped: None while a handler owns it
    objects, many = 0, state.objects + _SLICE
    try:
        for _ in repeat(None, _SLICE):
            opcode = data[pos]
            if opcode == 0x72:  # LONG_BINPUT
                memo[_U32(data, pos + 1)[0]] = stack[-1]
                pos += 5
            elif opcode == 0x68:  # BINGET
                stack.append(memo[data[pos + 1]])
                pos += 2
            elif opcode == 0x58:  # BINUNICODE
                begin = pos + 5
                end = begin + _U32(data, pos + 1)[0]
                if end > len(data):
                    raise PickleError("the pickle ends inside a string", truncated=True)
                stack.append(str(data[begin:end], "utf-8", "surrogatepass"))
                objects += 1
                pos = end
            elif opcode == 0x28:  # MARK
                start = pos
                if stack and data[pos + 1] == 0x28:
                    pos = dense.run(pos, stack)
                if pos == start:
                    outer.append(stack)
                    stack = []
                    pos += 1
                elif state.objects > many:
                    return False  # for a look at the limits
            elif opcode == 0x4B:  # BININT1
                stack.append(data[pos + 1])
                pos += 2
            elif opcode == 0x71:  # BINPUT
                memo[data[pos + 1]] = stack[-1]
                pos += 2
            else:
                state.pos, state.stack = pos, stack
                stack = None  # the state's own now, also when the handler raises
                if COLD[opcode](state):
                    return True
                pos, stack = state.pos, state.stack
    except UnicodeDecodeError as error:
        raise PickleError(f"a string is not UTF-8 ({error.reason})") from None
    finally:
        state.objects += objects
        if stack is not None:
            state.pos, state.stack = pos, stack
    return False
