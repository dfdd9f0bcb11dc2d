"""Pickles that call what runs code, plainly: one for each road to it that scanners have met.

Every payload, if anything ran it, would make the file `executed` in the folder it was built for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.hostile import assemble as a
from tests.hostile.case import Case, raw
from tests.hostile.containers import (
    Entry,
    legacy_bytes,
    legacy_storage,
    tar_bytes,
    torch_zip_bytes,
)

MARKER = "executed"

Payload = Callable[[str], bytes]  # from the path of the marker to the body of a pickle


def shell(marker: str) -> bytes:
    """A shell command that leaves the marker, as an argument."""
    return a.text(f"echo > '{marker}'")


def python(marker: str) -> bytes:
    """A Python expression that leaves the marker, as an argument."""
    return a.text(f"open({marker!r}, 'w').close()")


def _with(argument: Payload, module: str, attribute: str, *more: bytes) -> Payload:
    return lambda marker: a.call(a.name(module, attribute), argument(marker), *more)


def _names(text: str) -> list[str]:
    return text.split()


_SHELL = _names("""
    os.system posix.system nt.system subprocess.call subprocess.Popen subprocess.getoutput os.popen
    pty.spawn commands.getoutput platform.popen asyncio.create_subprocess_shell
    torch.utils.cpp_extension._run_ninja_build distutils.spawn.spawn pip._internal.main pip.main
    webbrowser.open idlelib.pyshell.ModifiedInterpreter
""")
_PYTHON = _names("""
    builtins.eval builtins.exec builtins.compile builtins.__import__ builtins.open builtins.breakpoint
    importlib.import_module imp.load_source runpy.run_path runpy.run_module runpy._run_code
    code.interact code.InteractiveInterpreter codeop.compile_command timeit.timeit timeit.main
    cProfile.run cProfile.runctx profile.run bdb.Bdb.run pdb.run trace.Trace.run doctest.debug_script
    pydoc.pipepager ctypes.CDLL ctypes.PyDLL zipimport.zipimporter marshal.loads pickle.loads
    _pickle.loads dill.loads cloudpickle.loads joblib.load shelve.open types.CodeType types.FunctionType
    logging.config.fileConfig multiprocessing.util.spawnv_passfds ensurepip._run_pip
    lib2to3.pgen2.pgen.ParserGenerator test.support.script_helper.assert_python_ok
    unittest.mock._importer sys.setprofile torch.hub.load torch.load torch.jit.load
    torch.jit.unsupported_tensor_ops.execWrapper torch.utils.collect_env.run
    torch._inductor.codecache.compile_file torch._dynamo.guards.GuardBuilder.get
    torch.utils.bottleneck.__main__.run_cprofile
    torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression
    torch.distributed.rpc.internal._internal_rpc_pickler.deserialize torch.serialization.load
    numpy.testing._private.utils.runstring numpy.f2py.crackfortran.getlincoef numpy.load
    pandas.read_pickle pandas.eval keras.models.load_model someone.elses.function urllib.request.urlopen
    requests.get socket.create_connection http.client.HTTPSConnection aiohttp.client.ClientSession
    smtplib.SMTP ssl.get_server_certificate shutil.rmtree os.remove tempfile.mktemp signal.raise_signal
    _thread.start_new_thread threading.Thread atexit.register sqlite3.connect inspect.getattr_static
    gc.get_objects linecache.getline site.addsitedir venv.create torch.package.PackageImporter
    distributed.protocol.serialize
""")
# What Python 2 called them; `_pickle` maps these below protocol 3.
_PYTHON2 = {
    "__builtin__.eval": "builtins.eval",
    "__builtin__.execfile": "builtins.execfile",
    "__builtin__.apply": "builtins.apply",
    "commands.getstatusoutput": "subprocess.getstatusoutput",
    "cPickle.loads": "pickle.loads",
    "thread.start_new_thread": "_thread.start_new_thread",
    "urllib.urlopen": "urllib.request.urlopen",
    "__builtin__.reduce": "functools.reduce",
    "anydbm.open": "dbm.open",
}


def _split(dotted: str) -> tuple[str, str]:
    for prefix in ("bdb.Bdb", "trace.Trace", "torch._dynamo.guards.GuardBuilder",
                   "torch.fx.experimental.symbolic_shapes.ShapeEnv"):  # fmt: skip
        if dotted.startswith(prefix + "."):
            module, cls = prefix.rsplit(".", 1)
            return module, f"{cls}.{dotted[len(prefix) + 1 :]}"
    module, _, attribute = dotted.rpartition(".")
    return module, attribute


def at_marker(payload: Payload, wrap: Callable[[bytes], bytes] = a.whole) -> Callable[[Path], Path]:
    """A builder of the file that `wrap` makes of the payload."""

    def build(folder: Path) -> Path:
        return raw(wrap(payload(str(folder / MARKER))))(folder)

    return build


def in_zip(pickled: bytes) -> bytes:
    """A torch zip around a body."""
    return torch_zip_bytes(a.whole(pickled))


def _plain() -> list[Case]:
    cases = []
    for argument, dotted_names in ((shell, _SHELL), (python, _PYTHON)):
        for dotted in dotted_names:
            seen = {"commands.getoutput": "subprocess.getoutput"}.get(dotted, dotted)
            payload = _with(argument, *_split(dotted))
            cases.append(Case(f"calls {dotted}", "payload", at_marker(payload, in_zip), (seen,), (seen,)))
    for old, new in _PYTHON2.items():
        payload = _with(python, *_split(old))
        cases.append(Case(f"Python 2 {old}", "payload", at_marker(payload), (new,), (new,)))
    return cases


_SYSTEM = _with(shell, "posix", "system")
_CONTAINERS: dict[str, Callable[[bytes], bytes]] = {
    "torch zip": in_zip,
    "legacy": lambda body: legacy_bytes(a.whole(body), legacy_storage()),
    "raw pickle": a.whole,
    "raw pickle of protocol 0": lambda body: body + a.STOP,
    "tar": lambda body: tar_bytes(a.whole(body)),
    "deflated torch zip": lambda body: torch_zip_bytes(a.whole(body), method=8),
    "zip beside its data.pkl": lambda body: torch_zip_bytes(
        a.whole(a.NONE), Entry("a/extra.bin", a.whole(body))
    ),
    "zip at its root": lambda body: torch_zip_bytes(a.whole(a.NONE), Entry("loader.txt", a.whole(body))),
    "zip in its data": lambda body: torch_zip_bytes(a.whole(a.NONE), Entry("a/data/7", a.whole(body))),
    "pickle after STOP": lambda body: a.whole(a.NONE) + a.whole(body),
    "third of three pickles": lambda body: a.whole(a.NONE) * 2 + a.whole(body),
    "pickle in front of a zip": lambda body: a.whole(body) + torch_zip_bytes(a.whole(a.NONE)),
    "before a broken opcode": lambda body: torch_zip_bytes(a.PROTO2 + body + b"\xff."),
    "before the end of the data": lambda body: torch_zip_bytes(a.PROTO2 + body),
    "without a protocol": lambda body: torch_zip_bytes(body + a.STOP),
    "raw pickle behind junk globals": lambda body: a.whole(a.name("a", "b") * 500 + body),
    "magic number of the legacy format": lambda body: (
        a.PROTO2 + body + a.number(0x1950A86A20F9469CFC6C) + a.STOP
    ),
    "legacy system info": lambda body: legacy_bytes(b"")[:17] + a.whole(body) * 3,
    "legacy storage keys": lambda body: legacy_bytes(a.whole(a.NONE))[:-4] + a.whole(body),
}


def _contained() -> list[Case]:
    system = ("posix.system",)
    cases = [
        Case(f"payload: {where}", "payload", at_marker(_SYSTEM, wrap), system, system)
        for where, wrap in _CONTAINERS.items()
    ]
    twice = Entry("A/DATA.PKL", a.whole(a.NONE))
    upper = at_marker(_SYSTEM, lambda body: torch_zip_bytes(a.whole(body), twice))
    lower = at_marker(
        _SYSTEM, lambda body: torch_zip_bytes(a.whole(a.NONE), Entry("a/DATA.PKL", a.whole(body)))
    )
    return [
        *cases,
        Case("payload beside DATA.PKL", "payload", upper, system, system, ("twice",)),
        Case("payload in DATA.PKL", "payload", lower, system, system, ("twice",)),
    ]


CASES = (*_plain(), *_contained())
