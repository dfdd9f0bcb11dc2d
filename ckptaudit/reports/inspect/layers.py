"""What the modules of a checkpoint seem to be, where the file itself does not say it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from ckptaudit.layers import Guess, guesses
from ckptaudit.model import Checkpoint, StateDict
from ckptaudit.summary import members
from ckptaudit.text import dotted

_MOST = 3  # layers in one line


def shown(checkpoint: Checkpoint, chosen: StateDict | None) -> Iterator[tuple[str, StateDict]]:
    """The state dicts whose modules are shown, each with the dotted name that goes before its own."""
    for state_dict in checkpoint.state_dicts if chosen is None else (chosen,):
        if state_dict.role != "optimizer":
            yield "" if chosen else dotted(state_dict.root), state_dict


def inferred(checkpoint: Checkpoint, chosen: StateDict | None) -> dict[str, Guess]:
    """A guess for each module that is shown, by its name there; none where the file names the classes."""
    held = members(checkpoint)
    found: dict[str, Guess] = {}
    for above, state_dict in shown(checkpoint, chosen):
        if all(module.cls is None for module in state_dict.modules.values()):
            told = guesses(held[state_dict.root], state_dict.modules)
            found |= {inside(above, path): guess for path, guess in told.items()} if above else told
    return found


def inside(above: str, path: str) -> str:
    """The name of a module in the whole, from its name in its state dict."""
    return f"{above}.{path}" if above and path else above or path


def hidden(told: Mapping[str, Guess]) -> str:
    """What decides what these layers compute and no tensor shows: `of Conv2d: stride, padding`."""
    unknown = Counter((guess.layer, guess.unknown) for guess in told.values() if guess.unknown)
    told_of = [f"of {layer}: {', '.join(names)}" for (layer, names), _ in unknown.most_common()]
    return "; ".join(told_of[:_MOST]) + (
        f"; and of {len(told_of) - _MOST} more" if len(told_of) > _MOST else ""
    )
