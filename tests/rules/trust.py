"""Bad and good files for the rules on trust."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.hostile import assemble as a
from tests.hostile.callables import in_zip
from tests.hostile.case import raw
from tests.hostile.containers import Entry, safetensors_bytes, torch_zip, torch_zip_bytes, zipped
from tests.rules.case import Case, bad, fixture, good

_SYSTEM = a.call(a.name("posix", "system"), a.text("true"))
_STATE = a.items(a.text("weight"), a.tensor())
_GOOD = a.whole(_STATE)
_SAFE = b'{"weight":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'


def _pt(body: bytes, *more: Entry) -> Callable[[Path], Path]:
    return torch_zip(a.whole(body), *more)


def _script(*more: Entry, code: str = "") -> Callable[[Path], Path]:
    entries = [
        Entry("a/data.pkl", a.whole(a.name("__torch__", "Net") + a.EMPTY_TUPLE + a.NEWOBJ)),
        Entry("a/code/__torch__.py", f"class Net(Module):\n  __parameters__ = []\n{code}".encode()),
        Entry("a/constants.pkl", a.whole(a.EMPTY_TUPLE)),
        Entry("a/version", b"3\n"),
        *more,
    ]
    return raw(zipped(entries))


def _exported(size: str, *more: Entry) -> Callable[[Path], Path]:
    program = f'{{"graph_module": {{"signature": {{}}}}, "range": {{"expr_str": "{size}"}}}}'
    entries = [
        Entry("a/archive_format", b"pt2"),
        Entry("a/archive_version", b"0"),
        Entry("a/byteorder", b"little"),
        Entry("a/models/model.json", program.encode()),
        Entry("a/data/weights/model_weights_config.json", b'{"config": {}}'),
        Entry("a/data/constants/model_constants_config.json", b'{"config": {}}'),
        *more,
    ]
    return raw(zipped(entries))


def _made(module: str, name: str, state: bytes = b"") -> bytes:
    return a.name(module, name) + a.EMPTY_TUPLE + a.NEWOBJ + (state and state + a.BUILD)


def _module(cls: bytes, make: Callable[[bytes], bytes] = lambda cls: cls + a.EMPTY_TUPLE + a.NEWOBJ) -> bytes:
    empty = a.call(a.name("collections", "OrderedDict"))
    state = a.items(
        *(a.text("training"), b"\x88", a.text("_modules"), empty, a.text("_buffers"), empty),
        *(a.text("_parameters"), a.items(a.text("weight"), a.tensor())),
    )
    return make(cls) + state + a.BUILD


CASES: tuple[Case, ...] = (
    bad("dangerous-global", "error", "calls os.system", raw(in_zip(_SYSTEM)), "calls", "posix.system"),
    bad(
        "dangerous-global",
        "error",
        "in a raw pickle of protocol 0",
        raw(b"cos\nsystem\n(S'true'\ntR."),
        "os.system",
    ),
    bad(
        "dangerous-global",
        "error",
        "before a broken opcode",
        raw(torch_zip_bytes(a.PROTO2 + _SYSTEM + b"\xff.")),
        "posix.system",
    ),
    bad(
        "dangerous-global",
        "error",
        "fetched by getattr",
        raw(
            in_zip(a.call(a.call(a.name("builtins", "getattr"), a.name("os", "path"), a.text("os")), a.NONE))
        ),
        "os.path",
    ),
    bad(
        "dangerous-global",
        "error",
        "imported and dropped",
        _pt(a.name("posix", "system") + a.POP + a.NONE),
        "imports",
        "posix.system",
    ),
    good(
        "dangerous-global",
        "the same in the bytes of a tensor",
        raw(
            torch_zip_bytes(
                a.whole(
                    a.items(a.text("rng"), a.tensor(a.storage(kind="ByteStorage", numel=16), shape=(16,)))
                )
            )
        ),
    ),
    good("dangerous-global", "scary names of tensors", _pt(a.items(a.text("os.system"), a.tensor()))),
    good("dangerous-global", "a lazy module", fixture("full_model_lazy.pt")),
    bad(
        "unknown-global",
        "error",
        "calls a function",
        _pt(a.call(a.name("someone.elses", "function"), a.text("x"))),
        "calls",
        "someone.elses.function",
    ),
    bad(
        "unknown-global",
        "note",
        "an object of a class",
        _pt(_made("project.config", "Config", _STATE)),
        "1 name",
        "project.config.Config",
    ),
    bad(
        "unknown-global",
        "error",
        "a function whose result passes for a module",
        _pt(_module(a.name("someone.elses", "function"), a.call)),
        "calls",
        "someone.elses.function",
    ),
    good("unknown-global", "arguments of a training script", fixture("train_ckpt.pt")),
    good("unknown-global", "a module class has its own rule", _pt(_module(a.name("project.net", "Net")))),
    bad(
        "needs-code",
        "warning",
        "one class",
        _pt(_module(a.name("project.net", "Net"))),
        "one module class",
        "project.net.Net",
    ),
    bad(
        "needs-code",
        "warning",
        "a package called unknown",
        _pt(_module(a.name("unknown.layers", "Linear"))),
        "unknown.layers.Linear",
    ),
    bad("needs-code", "warning", "two classes", fixture("full_model_tiny_gpt.pt"), "2 module classes"),
    good("needs-code", "torch's own classes", fixture("full_model_sequential_mlp.pt")),
    good("needs-code", "TorchScript carries its code", fixture("nest_mlp.torchscript.pt")),
    bad(
        "ambiguous-format",
        "error",
        "data.pkl twice, case aside",
        _pt(_STATE, Entry("a/DATA.PKL", a.whole(_SYSTEM))),
        "DATA.PKL",
        "twice",
    ),
    bad(
        "ambiguous-format",
        "error",
        "another name in the local header",
        raw(
            zipped(
                [
                    Entry("a/data.pkl", _GOOD, local_name=b"a/date.pkl"),
                    Entry("a/data/0", bytes(16)),
                    Entry("a/version", b"3\n"),
                ]
            )
        ),
        "data.pkl",
        "another name",
    ),
    bad(
        "ambiguous-format",
        "error",
        "a pickle in front of a zip",
        raw(a.whole(a.NONE) + torch_zip_bytes(_GOOD)),
        "pickle",
        "zip",
    ),
    good(
        "ambiguous-format",
        "a file within the bytes of a tensor",
        raw(
            zipped([Entry("a/data.pkl", _GOOD), Entry("a/data/0", b"PK\3\4" * 4), Entry("a/version", b"3\n")])
        ),
    ),
    good(
        "ambiguous-format",
        "safetensors whose length looks like an opcode",
        raw(safetensors_bytes(_SAFE.ljust(0x80), bytes(16)), "file.safetensors"),
    ),
    bad(
        "hidden-pickle",
        "error",
        "a payload beside data.pkl",
        _pt(_STATE, Entry("a/extra.bin", a.whole(_SYSTEM))),
        "extra.bin",
    ),
    bad(
        "hidden-pickle",
        "error",
        "a payload behind the first pickle",
        raw(a.whole(a.NONE) + a.whole(_SYSTEM)),
        "behind",
    ),
    bad(
        "hidden-pickle",
        "note",
        "an extra file that imports nothing bad",
        _pt(_STATE, Entry("a/extra/args.pkl", a.whole(_made("argparse", "Namespace", _STATE)))),
        "args.pkl",
    ),
    good(
        "hidden-pickle",
        "an extra file of text",
        _pt(_STATE, Entry("a/extra/notes.txt", b"calls of os.system are bad\n")),
    ),
    bad(
        "odd-pickle",
        "error",
        "attributes set on an imported class",
        _pt(a.name("torch.nn.parameter", "Parameter") + a.items(a.text("x"), a.NONE) + a.BUILD),
        "Parameter",
    ),
    good("odd-pickle", "attributes set on an object", _pt(_made("argparse", "Namespace", _STATE))),
    bad("unsafe-member-name", "error", "dots", _pt(_STATE, Entry("a/../../x", b"x")), "outside the folder"),
    bad("unsafe-member-name", "error", "absolute", _pt(_STATE, Entry("/etc/x", b"x")), "/etc/x"),
    good("unsafe-member-name", "dots within a name", _pt(_STATE, Entry("a/v1..2/x", b"x"))),
    bad("trailing-bytes", "warning", "after a zip", raw(torch_zip_bytes(_GOOD) + b"junk"), "4 bytes"),
    bad("trailing-bytes", "error", "after safetensors", raw(safetensors_bytes(_SAFE, bytes(20))), "4 bytes"),
    good("trailing-bytes", "a zip to its end", raw(torch_zip_bytes(_GOOD))),
    bad("code-in-expression", "error", "a size that is code", _exported("__import__('os')"), "__import__"),
    good("code-in-expression", "a size that is arithmetic", _exported("2*s0 + 1")),
    bad(
        "code-opens-files",
        "error",
        "saves a tensor",
        _script(code="  def forward(self, x):\n    torch.save(x, 'y')\n"),
        "torch.save",
    ),
    bad(
        "code-opens-files",
        "error",
        "saves a tensor, spelt with blanks and comments",
        _script(code="  def forward(self, x):\n    ops . aten\t. save # x\n (x, 'y')\n"),
        "aten",
    ),
    good("code-opens-files", "computes", _script(code="  def forward(self, x):\n    return torch.relu(x)\n")),
    bad(
        "native-code",
        "warning",
        "a compiled library",
        _exported("s0", Entry("a/data/aotinductor/model/model.so", b"\x7fELF")),
        "compiled code",
    ),
    good("native-code", "a program and weights", _exported("s0")),
    bad(
        "weights-only-refused",
        "note",
        "a class that is not allowed",
        fixture("train_ckpt.pt"),
        "argparse.Namespace",
    ),
    good("weights-only-refused", "a state dict", fixture("mlp.params")),
    good("weights-only-refused", "TorchScript is not meant for it", fixture("nest_mlp.torchscript.pt")),
)
