"""From the symbols of a pickle to tensors, modules, state dicts and extras.

A walk over the saved object that visits every place, once for each way that leads to it, as a person
would index into it: `object["model"]["conv1.weight"]`. Inside an nn.Module a place has the dotted name
that `named_parameters` gives it. Iterative: how deep the object goes is the file's to choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ckptaudit.model import Kind, Path, TensorMeta
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle import containers
from ckptaudit.readers.pickle.leaves import plain
from ckptaudit.readers.pickle.symbols import Call
from ckptaudit.readers.pickle.tensors import BadTensor, Memory, View, tensor_of
from ckptaudit.readers.statedicts import Roots

_SCALARS = (str, int, float, bool, type(None))
_LONG = 1000  # a mapping of more scalars is one value, not so many


class Place(NamedTuple):
    """Where a value hangs. `owner` is the module or optimizer around it: its tensors are named from there."""

    path: Path
    owner: Path | None = None
    in_module: bool = False
    kind: Kind | None = None

    def below(self, step: object, kind: Kind | None = None) -> Place:
        """The place one step further in; inside a module, steps join to one dotted name."""
        step = step if type(step) in (str, int) else str(plain(step))
        if not self.in_module:
            return Place((*self.path, step), self.owner)
        root = self.owner or ()
        return Place((*root, ".".join([*map(str, self.path[len(root) :]), str(step)])), root, True, kind)


class _Visit(NamedTuple):
    identity: int  # of the container
    before: int  # tensors found until then
    parts: Iterator[tuple[Place, Any]]


class Reviver:
    """Walks one saved object into `draft`; `memory` finds the storages of its tensors."""

    def __init__(self, draft: Draft, memory: Memory) -> None:
        self.draft = draft
        self.memory = memory
        self.roots = Roots(draft)
        self._views: dict[int, View | None] = {}
        self._barren: set[int] = set()  # containers already walked that hold no tensor
        self._repeats = 0

    def walk(self, value: Any, path: Path = ()) -> None:
        """Visit `value`, which hangs at `path`, and everything in it."""
        todo = [_Visit(0, 0, iter([(Place(path), value)]))]
        active = {0}
        while todo:
            visit = todo[-1]
            for place, part in visit.parts:
                parts = self._visit(place, part, active, len(todo))
                if parts is not None:
                    active.add(id(part))
                    todo.append(_Visit(id(part), len(self.draft.tensors), parts))
                    break
            else:
                todo.pop()
                active.discard(visit.identity)
                if len(self.draft.tensors) == visit.before:
                    self._barren.add(visit.identity)

    def _visit(
        self, place: Place, value: Any, active: set[int], depth: int
    ) -> Iterator[tuple[Place, Any]] | None:
        """Take up a leaf, or hand back the parts of a container."""
        kind = type(value)
        if kind is Call:
            view = self._view(place, value)
            if view is not None:
                self._add(place, view)
                return None
        elif kind in _SCALARS:
            self._leaf(place, value)
            return None
        if id(value) in active:
            return None
        if depth > self.draft.limits.depth:
            self._barren.add(id(value))
            self.draft.limit("depth", f"{show(place.path)} lies {depth} levels deep")
            return None
        return self._enter(place, value)

    def _enter(self, place: Place, value: Any) -> Iterator[tuple[Place, Any]] | None:
        state = containers.module_state(value)
        if state is not None:
            # A module without tensors is listed wherever it hangs, unless that is without end.
            again = id(value) in self._barren and not self._repeat(place)
            return None if again else self._module(place, value, state)
        if id(value) in self._barren:
            return None
        pairs = containers.pairs_of(value)
        if pairs is not None and (len(pairs) <= _LONG or not _all_scalars(pairs.values())):
            place = self._mapping(place, value, pairs)
            return ((place.below(key), part) for key, part in pairs.items())
        items, attributes = containers.items_of(value), containers.attributes_of(value)
        scalars = not attributes and _all_scalars(items)
        if scalars or type(value) is Call:
            self._leaf(place, value)
        return None if scalars else self._parts(place, items, attributes)

    def _parts(
        self, place: Place, items: Iterable[Any], attributes: dict[Any, Any]
    ) -> Iterator[tuple[Place, Any]]:
        for index, part in enumerate(items):
            yield place.below(index), part
        for name, part in attributes.items():
            yield place.below(name), part

    def _leaf(self, place: Place, value: Any) -> None:
        if place.in_module:
            return
        if len(self.draft.extras) == self.draft.limits.extras:
            self.draft.limit("extras", f"{show(place.path)} is one more value that is no tensor")
            self.draft.extras[place.path] = plain(value)
        elif len(self.draft.extras) < self.draft.limits.extras:
            self.draft.extras[place.path] = plain(value)

    def _mapping(self, place: Place, value: Any, pairs: dict[Any, Any]) -> Place:
        """Note what sort of mapping this is; its place, with the owner that it becomes itself."""
        if place.owner is not None:
            return place
        if "param_groups" in pairs and "state" in pairs:
            self.roots.optimizer(place.path)
            return place._replace(owner=place.path)
        self.roots.mapping(place.path, containers.versions_of(value))
        return place

    def _module(self, place: Place, value: Any, state: dict[Any, Any]) -> Iterator[tuple[Place, Any]]:
        if not place.in_module:
            place = Place(place.path, place.path, in_module=True)
        name = _dotted(place.path[len(place.owner or ()) :])
        self.roots.module(place.owner or (), containers.module_meta(name, value, state))
        for slot, kind in _OWN_TENSORS:
            for own, part in containers.entries(state, slot):
                yield place.below(own, kind), part
        for own, part in state.items():
            if type(own) is str and not own.startswith("_"):
                yield place.below(own), part
        for own, part in containers.entries(state, "_modules"):
            yield place.below(own), part

    def _view(self, place: Place, call: Call) -> View | None:
        identity = id(call)
        if identity in self._views:
            view = self._views[identity]
            return view if view is None or self._repeat(place) else None
        try:
            view = tensor_of(call, self.memory)
        except BadTensor as error:
            view = None
            self.draft.problem("malformed-file", f"{show(place.path)}: {error}", incomplete=True)
        self._views[identity] = view
        return view

    def _repeat(self, place: Place) -> bool:
        """Whether one more way to something seen before may still be followed."""
        self._repeats += 1
        if self._repeats == self.draft.limits.repeats + 1:
            self.draft.limit("repeats", f"{show(place.path)} is one more way to what was seen before")
        return self._repeats <= self.draft.limits.repeats

    def _add(self, place: Place, view: View) -> None:
        path = place.path
        dtype, shape, stride, offset, storage, kind, grad, layout, subclass = view
        if place.kind is not None and kind != "lazy":
            kind = place.kind
        if path in self.draft.tensors:
            self.draft.problem("duplicate-name", f"two tensors are called {show(path)}")
        key = self.roots.key(path, place.owner)
        self.draft.tensors[path] = TensorMeta(
            path, key, dtype, shape, stride, offset, storage.id, kind, grad, layout, subclass
        )


_OWN_TENSORS: tuple[tuple[str, Kind], ...] = (("_parameters", "parameter"), ("_buffers", "buffer"))


def _all_scalars(values: Iterable[Any]) -> bool:
    return all(type(value) in _SCALARS for value in values)


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))


def show(path: Path) -> str:
    """A place in words, cut where it is very long."""
    name = repr(_dotted(path))
    return name if len(name) <= 200 else f"{name[:200]}…"
