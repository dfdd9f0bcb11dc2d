"""The rule `wrapped-keys`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from ckptaudit.audit import Finding, rule, warning
from ckptaudit.match.mapping import starred
from ckptaudit.match.renames import WRAPPERS
from ckptaudit.model import Checkpoint
from ckptaudit.summary import Held, roles
from ckptaudit.text import above, option, plural, some

_LEVELS = 64  # of a name: a hostile one of 30,000 dots has as many


@rule("structure")
def wrapped_keys(checkpoint: Checkpoint, held: Held) -> Iterator[Finding]:
    """Keys carry the name of a wrapper: `module.`, `_orig_mod.` and their like, in front or inside.

    ## What it finds
    Names that DataParallel, DistributedDataParallel, `torch.compile`, FSDP, `checkpoint_wrapper` and
    DeepSpeed put around a module. `module` counts only where nothing else stands beside it, as under a
    wrapper: a model may call a part of itself so. AveragedModel, whose keys begin so on purpose, is left
    out.

    ## Why it matters
    The checkpoint loads only into a model that is wrapped the same way. With `strict=False` it loads into
    any other, without a single weight and without a word.

    ## Example
    `all 148 keys begin with module.`.

    ## What to do
    Save `model.module.state_dict()`, or take the names out on loading: the `fix` can be given to `--map`.
    """
    known = roles(checkpoint)
    for root, rows in held.items():
        keys = [row.key for row in rows]
        if known.get(root) in ("model", "ema") and "n_averaged" not in keys:
            yield from _findings(keys)


def _findings(keys: list[str]) -> Iterator[Finding]:
    for path, inside in _wrapped(keys).items():
        above, _, name = path.rpartition(".")
        told = f"all {len(keys):,} keys" if len(inside) == len(keys) else plural(len(inside), "key")
        begin = "begins" if told == "1 key" else "begin"
        yield warning(
            f"{told} {begin} with {path}., the name of a wrapper: {some(inside, 4)}",
            inside,
            data={"wrapper": name, "inside": above},
            fix=option("--map", f"{path}={above}"),
        )


def _wrapped(keys: list[str]) -> dict[str, list[str]]:
    """What is inside of each wrapper; blocks that are each wrapped are one, with `*` for their numbers."""
    paths = _wrappers(keys)
    alike = Counter(map(starred, paths))
    names = {path: starred(path) if alike[starred(path)] > 1 else path for path in paths}
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for key in keys:
        for name in {names[path] for path in above(key) if path in names}:
            found[name].append(key)
    return found


def _wrappers(keys: Iterable[str]) -> list[str]:
    """The paths of wrappers, outermost first."""
    children: dict[str, set[str]] = {}
    for key in keys:
        parts = key.split(".", _LEVELS)
        path = ""
        for part in parts:
            children.setdefault(path, set()).add(part)
            path = f"{path}.{part}" if path else part
    found = []
    for path, names in children.items():
        only = next(iter(names)) if len(names) == 1 else ""
        for name in names & WRAPPERS:
            whole = f"{path}.{name}" if path else name
            # `module` is an honest name too; and a tensor of that name wraps nothing.
            if whole in children and (name != "module" or only):
                found.append(whole)
    return found
