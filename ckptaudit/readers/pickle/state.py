"""The state of one run of the pickle machine, and what may be done to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ckptaudit.limits import Limits
from ckptaudit.readers.pickle.policy import GETTERS, python3_name
from ckptaudit.readers.pickle.symbols import Call, Global, How, PickleError, Use

_PLAIN = (str, int, bytes, type(None), float, bool)  # keys that are hashed by their own value


class State:
    """One run over `data`: position, stacks, memo, and what was seen on the way."""

    def __init__(
        self, data: bytes, start: int, limits: Limits, persistent: Callable[[object, int], object]
    ) -> None:
        self.data = data
        self.pos = start
        self.limits = limits
        self.persistent = persistent
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # the stacks below each MARK
        self.memo: dict[int, Any] = {}
        self.names: dict[tuple[str, str], Global] = {}
        self.indirect: list[Call] = []
        self.uses: set[tuple[Use, object]] = set()
        self.rare: set[int] = set()
        self.oddities: list[tuple[int, str]] = []
        self.protocol = 0
        self.frame_end = 0
        self.objects = 0
        self.result: Any = None

    def take(self, nbytes: int) -> bytes:
        """The next `nbytes` bytes; moves past them."""
        end = self.pos + nbytes
        if end > len(self.data) or self.pos < self.frame_end < end:
            raise PickleError("the pickle ends before its STOP", truncated=True)
        taken = self.data[self.pos : end]
        self.pos = end
        return taken

    def line(self) -> bytes:
        """The text up to the next newline; moves past it."""
        end = self.data.find(b"\n", self.pos)
        if end < 0:
            raise PickleError("the pickle ends before its STOP", truncated=True)
        if end - self.pos > self.limits.name_bytes:
            raise PickleError(f"a line of {end - self.pos:,} bytes", limit="name_bytes")
        text = self.data[self.pos : end]
        self.pos = end + 1
        return text

    def pop(self) -> Any:
        """The top of the stack; what lies below a MARK is out of reach."""
        if not self.stack:
            raise underflow()
        return self.stack.pop()

    def top(self) -> Any:
        """The top of the stack, left there."""
        if not self.stack:
            raise underflow()
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        """Everything since the last MARK."""
        if not self.outer:
            raise PickleError("no MARK to go back to")
        items = self.stack
        self.stack = self.outer.pop()
        return items

    def push_global(self, module: str, name: str, start: int) -> None:
        """Push the name `module.name`, mapped from Python 2 as `_pickle` does below protocol 3."""
        if self.protocol < 3:
            module, name = python3_name(module, name)
        found = self.names.get((module, name))
        if found is None:
            found = self.names[module, name] = Global(
                module, name, start, self.pos - start, hands_out=(module, name) in GETTERS
            )
        self.stack.append(found)

    def push_call(self, func: object, args: object, how: How, start: int) -> Call:
        """Push the result of a call that is not made."""
        call = Call(func, args, start, how)
        if type(func) is Global:
            func.called = True
            if func.hands_out:
                self.indirect.append(call)
        else:
            self.indirect.append(call)
        if how != "reduce":
            self.uses.add((how, func))
        self.stack.append(call)
        return call

    def hashable(self, key: Any) -> Any:
        """`key`, if it may key a dict; a PickleError where Python would refuse it, or hash it forever."""
        if type(key) in _PLAIN:
            return key
        budget = self.limits.key_nodes
        todo = [key]
        while todo:
            part = todo.pop()
            budget -= 1
            if budget < 0:
                raise PickleError(
                    f"a dict key of more than {self.limits.key_nodes:,} parts", limit="key_nodes"
                )
            if type(part) in (list, dict, set, bytearray):
                raise PickleError(f"a {type(part).__name__} as a dict key or set member: unhashable")
            if type(part) is tuple or type(part) is frozenset:
                todo.extend(part)
        return key

    def set_items(self, target: Any, pairs: list[Any]) -> None:
        """`target[key] = value` for each two of `pairs`."""
        if type(target) is dict:
            into = target
        elif type(target) is Call:
            if target.pairs is None:
                target.pairs = {}
            self.uses.add(("setitems", target.func))
            into = target.pairs
        elif type(target) is Global:
            self.plant(target, "sets items of")
            return
        elif type(target) in (list, bytearray):
            self._set_places(target, pairs)
            return
        else:
            raise PickleError(f"sets items of a {type(target).__name__}")
        for index in range(0, len(pairs), 2):
            key = pairs[index]
            into[key if type(key) is str else self.hashable(key)] = pairs[index + 1]

    def extend(self, target: Any, items: list[Any]) -> None:
        """Append `items` to `target`."""
        if type(target) is list:
            target.extend(items)
        elif type(target) is bytearray:
            self._set_places(target, items, at_end=True)
        elif type(target) is Call:
            if target.items is None:
                target.items = []
            self.uses.add(("append", target.func))
            target.items.extend(items)
        elif type(target) is Global:
            self.plant(target, "appends to")
        else:
            raise PickleError(f"appends to a {type(target).__name__}")

    def _set_places(self, target: Any, items: list[Any], *, at_end: bool = False) -> None:
        """Set items of a list or bytearray by their index, or add numbers to the end of a bytearray."""
        try:
            if at_end:
                target.extend(items)
                return
            for index, value in zip(items[::2], items[1::2], strict=True):
                if not isinstance(index, int):
                    raise PickleError(f"sets items of a {type(target).__name__} by no index")
                target[index] = value
        except (TypeError, ValueError, IndexError) as error:
            raise PickleError(f"changes a {type(target).__name__} where it cannot ({error})") from None

    def plant(self, target: Global, what: str) -> None:
        """Note that the pickle changes what it imports: that can run code as well as a call can."""
        target.called = True
        self.oddities.append((self.pos, f"{what} {target.module}.{target.name} itself"))

    def salvage(self) -> Any:
        """The outermost object under construction when a fault came, with what was ready to go into it."""
        while self.outer:
            items = self.pop_mark()
            if self.stack and not _fold(self.stack[-1], items):
                self.stack.pop()  # a call whose arguments were cut off
        return self.stack[0] if self.stack else None


def _fold(target: Any, items: list[Any]) -> bool:
    """Put `items` into the container that they were meant for; False where it is none."""
    if type(target) is list:
        target.extend(items)
    elif type(target) is dict or type(target) is Call:
        if type(target) is Call:
            target.pairs = target = target.pairs or {}
        for key, value in zip(items[::2], items[1::2], strict=False):
            if type(key) in _PLAIN:
                target[key] = value
    else:
        return False
    return True


def underflow() -> PickleError:
    """The stack holds too little, or a MARK is in the way."""
    return PickleError("stack underflow: an opcode wants more than was pushed")
