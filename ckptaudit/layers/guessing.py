"""From the tensors of a state dict to a guess for each module that owns some."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptaudit.layers.composites import compose
from ckptaudit.layers.evidence import Seen, judge
from ckptaudit.layers.fits import ungrouped
from ckptaudit.layers.form import CONVOLUTION, Form, form_of
from ckptaudit.layers.guess import NOTHING, Guess
from ckptaudit.layers.lazies import lazy
from ckptaudit.layers.parts import Parts
from ckptaudit.layers.place import Place, Places
from ckptaudit.layers.wrappers import INSIDE, Size
from ckptaudit.model import DTYPE_BITS, ModuleMeta, TensorMeta

_new = tuple.__new__  # makes a named tuple without its Python-level constructor: there are 10,000
_INSIDE = f".{INSIDE}"

FLOATING = frozenset(name for name in DTYPE_BITS if name.startswith(("float", "bfloat", "complex")))


def guesses(tensors: Iterable[TensorMeta], modules: Mapping[str, ModuleMeta]) -> dict[str, Guess]:
    """What each module seems to be, by its path, from the tensors of one state dict.

    `modules` are those of the state dict: of them the version is used, where the file tells it. Modules
    that own no tensors are left out, but for those that are known by their parts (MultiheadAttention, the
    transformers of torch.nn).
    """
    forms = _forms(tensors)
    places = Places()
    put = places.put
    standing = [(path, form, *put(path, form)) for path, form in forms.items()]
    places.settle()
    found: dict[str, Guess] = {}
    settled: dict[tuple[object, ...], tuple[object, ...]] = {}
    for path, form, name, place in standing:
        version = modules[path].version if path in modules else None
        number = place.number if place.number >= 0 else places.number(place)
        key = (number, name, form.number, version)
        rest = settled.get(key)
        if rest is None:
            rest = settled[key] = _guess(path, Seen(name, form, place, version))[1:]
        found[path] = _new(Guess, (path, *rest))
    _first_convolution(found, standing)
    return compose(Parts(forms, places.known, found))


def _first_convolution(found: dict[str, Guess], standing: list[tuple[str, Form, str, Place]]) -> None:
    """What the first of all convolutions takes in is an image or a sound, and no channels one by one."""
    first = next((path for path, form, _, _ in standing if form.traits & CONVOLUTION), None)
    if first is not None and found[first].arguments.get("groups", 1) != 1:
        guess = found[first]
        if guess.layer is not None and not guess.layer.startswith("ConvTranspose"):
            found[first] = guess._replace(arguments=ungrouped(guess.arguments))


def _forms(tensors: Iterable[TensorMeta]) -> dict[str, Form]:
    """The tensors by the path of the module that owns them, each set of names and shapes only once."""
    owned: dict[str, list[object]] = {}
    last, flat = None, []
    for row in tensors:
        path, _, name = row[1].rpartition(".")
        if path != last:
            last = path
            if "parametrizations" in path:
                path, name = _outside(path, name)
                last = None
            found = owned.get(path)
            flat = found if found is not None else owned.setdefault(path, [])
        if row[2] not in FLOATING and name != "num_batches_tracked":
            # No layer of torch.nn computes with numbers of this kind: they are packed, or count something.
            name = f"{name} {row[2]}"
        flat += name, row[3]
    known: dict[tuple[object, ...], Form] = {}
    forms = {}
    for path, flat in owned.items():
        raw = tuple(flat)
        form = known.get(raw)
        if form is None:
            sizes: dict[str, Size] = dict(zip(flat[::2], flat[1::2], strict=True))  # type: ignore[arg-type]
            form = known[raw] = form_of(len(known), sizes)
        forms[path] = form
    return forms


def _outside(path: str, name: str) -> tuple[str, str]:
    """The owner of a parametrized parameter is the module around `parametrizations`."""
    if path.startswith(INSIDE):
        return "", f"{path}.{name}"
    owner, inside, rest = path.partition(_INSIDE)
    return (owner, f"{INSIDE}{rest}.{name}") if inside else (path, name)


def _guess(path: str, seen: Seen) -> Guess:
    form = seen.form
    if form.lazy:
        found = lazy(frozenset(form.sizes), seen.name, seen.version)
        return Guess(path, None, None) if found is None else Guess(path, *found, form.wrappers)
    verdict = judge(seen)
    if verdict is None:
        return Guess(path, None, None, (*form.akin, "ParameterDict"), NOTHING, (), form.wrappers)
    layer, arguments, confidence, alternatives = verdict
    return Guess(path, layer.name, confidence, alternatives, arguments, layer.unknown, form.wrappers)
