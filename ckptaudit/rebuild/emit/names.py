"""Names of a file that become names in Python source: of attributes, where they can be, and of classes."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable
from keyword import iskeyword, issoftkeyword

# What nn.Module, Sequential, ModuleList and ModuleDict have themselves: an attribute of such a name would
# hide a method. A test compares this with torch.
_NAMES = """
    T_destination add_module append apply bfloat16 buffers call_super_init children clear compile cpu
    cuda double dump_patches eval extend extra_repr extra_state float forward get_buffer get_extra_state
    get_parameter get_submodule half insert ipu items keys load_state_dict modules mtia named_buffers
    named_children named_modules named_parameters parameters pop register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook register_load_state_dict_pre_hook
    register_module register_parameter register_state_dict_post_hook register_state_dict_pre_hook
    requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train training type
    update values xpu zero_grad
"""
OF_MODULES = frozenset(_NAMES.split())
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PRIVATE = re.compile(
    r"_(parameters|buffers|modules|non_persistent_buffers_set|apply|call_impl|replicate_\w+|(\w+_)?hooks(_\w+)?"
    r"|is_full_backward_hook|get_\w+|load_\w+|save_\w+|named_members|register_\w+|maybe_\w+|slow_forward"
    r"|wrapped_call_impl|version|compiled_call_impl|infer_parameters|flat_weights\w*|all_weights)"
)


def is_attribute(name: str) -> bool:
    """Whether `self.name = module` can be written, and does what it says."""
    return can_add(name) and _IDENTIFIER.fullmatch(name) is not None and not iskeyword(name)


def can_add(name: str) -> bool:
    """Whether `add_module` and its like take the name: not empty, no dot, no attribute of a module."""
    is_own = name in OF_MODULES or name.startswith("__") or _PRIVATE.fullmatch(name)
    return bool(name) and "." not in name and not is_own


def class_name(text: str, otherwise: str = "Model") -> str:
    """A name for a class, of letters and digits out of `text`: `mod.My Block` -> Block."""
    last = text.rpartition(".")[2]
    words = [word for word in re.split(r"[^A-Za-z0-9]+", last) if word]
    name = "".join(word[0].upper() + word[1:] for word in words)[:60].lstrip("0123456789")
    return name or otherwise


def user_class(text: str) -> str:
    """The last name of a class as a file names it, where that is a usual one."""
    last = text.rpartition(".")[2]
    usual = _IDENTIFIER.fullmatch(last) and not last.startswith("__") and len(last) <= 60
    return last if usual else class_name(last, "Module")


class Names:
    """Names that were given out, each once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = {"torch", "nn", "self", "build", "model", "i", "_", *taken}

    def new(self, wanted: str) -> str:
        """`wanted`, with a number where it is taken, a keyword, or a name of Python's own."""
        name, number = wanted, 1
        while name in self.taken or iskeyword(name) or issoftkeyword(name) or hasattr(builtins, name):
            number += 1
            name = f"{wanted}{'_' if wanted[-1:].isdecimal() else ''}{number}"
        self.taken.add(name)
        return name
