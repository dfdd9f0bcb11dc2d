"""From the symbols of a pickle to tensors, modules, state dicts and extras.

A walk over the saved object that visits every place, once for each way that leads to it, as a person
would index into it: `object["model"]["conv1.weight"]`. Inside an nn.Module a place has the dotted name
that `named_parameters` gives it. Iterative: how deep the object goes is the file's to choose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from ckptaudit.model import Kind, Path, TensorMeta
from ckptaudit.readers.draft import Draft
from ckptaudit.readers.pickle import containers
from ckptaudit.readers.pickle.attributes import module_meta
from ckptaudit.readers.pickle.leaves import plain, spelt
from ckptaudit.readers.pickle.symbols import Call
from ckptaudit.readers.pickle.tensors import Memory, TensorError, View, tensor_of
from ckptaudit.readers.statedicts import Roots, dotted

_SCALARS = frozenset({str, int, float, bool, type(None)})
_LONG = 1000  # a mapping of more scalars is one value, not so many; joined names beyond it are counted
_OWN_TENSORS: tuple[tuple[str, Kind], ...] = (("_parameters", "parameter"), ("_buffers", "buffer"))
_DEEP = 20
_new = tuple.__new__  # makes a named tuple without its Python-level constructor: there are 20,000


class Place(NamedTuple):
    """Where a value hangs. `owner` is the module or optimizer around it: its tensors are named from there."""

    path: Path
    owner: Path | None = None
    in_module: bool = False

    def below(self, key: Any) -> Path:
        """The place of a part; inside a module, steps join to one dotted name."""
        step = key if type(key) is str or (type(key) is int and key.bit_length() < 64) else spelt(key)
        if not self.in_module:
            return (*self.path, step)
        root = self.owner or ()
        return (*root, dotted((*self.path[len(root) :], step)))


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
        self._views = memory.views
        self._entered: set[int] = set()
        self._full = False
        self._barren: set[int] = set()  # containers already walked that hold no tensor
        self._repeats = 0
        self._places = 0
        self._first: dict[tuple[Path, int], str] = {}  # where a module hangs first, by its owner
        self._letters = draft.limits.letters
        self._alike: dict[tuple[Path, str], dict[int, int]] = {}

    def walk(self, value: object, path: Path = ()) -> None:
        """Visit `value`, which hangs at `path`, and everything in it."""
        todo = [_Visit(0, 0, self._root(path, value))]
        active = {0}
        while todo:
            visit = todo[-1]
            for place, part in visit.parts:
                parts = self._enter(place, part, active, len(todo))
                if parts is not None:
                    active.add(id(part))
                    todo.append(_Visit(id(part), len(self.draft.tensors), parts))
                    break
            else:
                todo.pop()
                active.discard(visit.identity)
                if len(self.draft.tensors) == visit.before:
                    self._barren.add(visit.identity)

    def _root(self, path: Path, value: Any) -> Iterator[tuple[Place, Any]]:
        view = self._view(path, value) if type(value) is Call else None
        if view is not None:
            self._add(path, None, view)
        else:
            yield Place(path), value

    def _enter(
        self, place: Place, value: Any, active: set[int], depth: int
    ) -> Iterator[tuple[Place, Any]] | None:
        """Take up a leaf, or hand back the parts of a container."""
        if type(value) in _SCALARS:
            self._leaf(place, value)
            return None
        if id(value) in active or self._full:
            return None
        self._places += 1
        if self._places > self.draft.limits.places:
            self._full = True
            self.draft.limit("places", f"{show(place.path)} is one more container or object")
            return None
        if depth > self.draft.limits.depth:
            self._barren.add(id(value))
            self.draft.limit("depth", f"{show(place.path)} lies {depth} levels deep")
            return None
        state = containers.module_state(value)
        if state is not None:
            # A module without tensors is listed wherever it hangs, unless that is without end.
            again = id(value) in self._entered
            self._entered.add(id(value))
            return (
                None if again and not self._repeat(place.path) else self._module(place, value, state, again)
            )
        if id(value) in self._barren:
            return None
        parts = self._container(place, value)
        if parts is None:
            return None
        if id(value) in self._entered:
            return self._again(place.path, parts)
        self._entered.add(id(value))
        return parts

    def _again(self, path: Path, parts: Iterator[tuple[Place, Any]]) -> Iterator[tuple[Place, Any]]:
        # Each part of a container that hangs in several places counts once more for each of them.
        for part in parts:
            if not self._repeat(path):
                return
            yield part

    def _container(self, place: Place, value: Any) -> Iterator[tuple[Place, Any]] | None:
        pairs = containers.pairs_of(value)
        if pairs is not None and not pairs and place.path and str(place.path[-1]).endswith("_extra_state"):
            self._leaf(place, pairs)  # strict loading minds the key, whatever it holds
        if pairs is not None and (len(pairs) <= _LONG or not _all_scalars(pairs.values())):
            return self._parts(self._mapping(place, value, pairs), pairs.items())
        items, attributes = containers.items_of(value), containers.attributes_of(value)
        scalars = not attributes and _all_scalars(items)
        if scalars or type(value) is Call:
            self._leaf(place, value)
        return None if scalars else self._parts(place, chain(enumerate(items), attributes.items()))

    def _mapping(self, place: Place, value: Any, pairs: dict[Any, Any]) -> Place:
        """Note what sort of mapping this is; its place, with the owner that it becomes itself."""
        if place.owner is not None:
            return place
        if "param_groups" in pairs and "state" in pairs:
            self.roots.optimizer(place.path)
            return place._replace(owner=place.path)
        self.roots.mapping(place.path, containers.versions_of(value))
        return place

    def _module(
        self, place: Place, value: Any, state: dict[Any, Any], again: bool
    ) -> Iterator[tuple[Place, Any]]:
        if not place.in_module:
            place = Place(place.path, place.path, in_module=True)
        owner = place.owner or ()
        name = dotted(place.path[len(owner) :])
        first = self._first.setdefault((owner, id(value)), name)
        self.roots.module(owner, module_meta(name, value, state, None if first == name else first))
        for slot, kind in _OWN_TENSORS:
            yield from self._parts(place, containers.entries(state, slot), kind)
        if not (again and id(value) in self._barren):
            yield from self._parts(place, containers.other_attributes(value, state))
        yield from self._parts(place, containers.entries(state, "_modules"))

    def _parts(
        self, place: Place, pairs: Iterable[tuple[Any, Any]], kind: Kind | None = None
    ) -> Iterator[tuple[Place, Any]]:
        """Take up the tensors among the parts of a container, and yield everything else."""
        base, owner, in_module = place
        for key, part in pairs:
            if self._full:
                return
            if type(key) is Call:
                key = self._name(base, key)
            path = (*base, key) if type(key) is str and not in_module else place.below(key)
            view = self._view(path, part) if type(part) is Call else None
            if view is not None:
                if kind is not None and view.kind != "lazy":
                    view = view._replace(kind=kind)
                self._add(path, owner, view)
            elif not in_module:
                yield Place(path, owner), part
            elif type(part) not in _SCALARS and self._spell(len(str(path[-1]))):
                yield Place(path, owner, in_module), part

    def _name(self, base: Path, key: Call) -> str:
        """An object as a key in words; those that read alike are numbered, as an optimizer's parameters."""
        known = self._alike.setdefault((base, text := spelt(key)), {})
        number = known.setdefault(id(key), len(known))
        return f"{text}#{number + 1}" if number else text

    def _leaf(self, place: Place, value: Any) -> None:
        extras, cap = self.draft.extras, self.draft.limits.extras
        if place.in_module or len(extras) > cap:
            return
        if len(extras) == cap:
            self.draft.limit("extras", f"{show(place.path)} is one more value that is no tensor")
        extras[place.path] = plain(value)

    def _view(self, path: Path, call: Call) -> View | None:
        views, identity = self._views, id(call)
        if identity in views:
            view = views[identity]
            return view if view is None or self._repeat(path) else None
        try:
            view = tensor_of(call, self.memory)
            if view is None:
                return None  # to tell so again costs less than to remember it
        except TensorError as error:
            view = None
            self.draft.problem("malformed-file", f"{show(path)}: {error}", incomplete=True)
        views[identity] = view
        return view

    def _repeat(self, path: Path) -> bool:
        """Whether one more way to something seen before may still be followed."""
        self._repeats += 1
        if self._repeats == self.draft.limits.repeats + 1:
            self.draft.limit("repeats", f"{show(path)} is one more way to what was seen before")
        return self._repeats <= self.draft.limits.repeats

    def _spell(self, letters: int) -> bool:
        """Whether names that are joined here, not written in the file, may still grow by so much."""
        if 0 <= self._letters < letters:
            self.draft.limit("letters", "names joined from the parts of deep objects grow without end")
        self._letters -= letters
        return self._letters >= 0

    def _add(self, path: Path, owner: Path | None, view: View) -> None:
        dtype, shape, stride, offset, storage, kind, grad, layout, subclass = view
        tensors = self.draft.tensors
        if path in tensors:
            self.draft.problem("duplicate-name", f"two tensors are called {show(path)}")
        if len(tensors) >= self.draft.limits.tensors:
            self._full = True
            self.draft.limit("tensors", f"{show(path)} is one more tensor")
            return
        key = self.roots.take(path, owner)
        if (len(key) > _LONG or len(path) > _DEEP) and not self._spell(len(key) + len(path)):
            return
        meta = (path, key, dtype, shape, stride, offset, storage.id, kind, grad, layout, subclass)
        tensors[path] = _new(TensorMeta, meta)


def _all_scalars(values: Iterable[Any]) -> bool:
    return all(type(value) in _SCALARS for value in values)


def show(path: Path) -> str:
    """A place in words, cut where it is very long."""
    name = repr(dotted(path))
    return name if len(name) <= 200 else f"{name[:200]}…"
