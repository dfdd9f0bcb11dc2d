"""The standard library as pickles see it: the names of its modules, and what of it is inert.

Whatever it has that is not listed as inert counts as dangerous: it opens files, starts processes, imports,
compiles, or calls what it is given. Inert is a type that only holds what it was made with, and a function
that only computes on it, whatever the arguments and whatever BUILD, APPENDS or SETITEMS do to the result.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Every top-level module of CPython 3.8 to 3.14, and those of Python 2 that 3 dropped.
STDLIB: Final = _words("""
    __builtin__ __future__ __phello__ _abc _aix_support _android_support _apple_support _ast _asyncio
    _bisect _blake2 _bootlocale _bootsubprocess _bz2 _codecs _codecs_cn _codecs_hk _codecs_iso2022
    _codecs_jp _codecs_kr _codecs_tw _collections _collections_abc _colorize _compat_pickle _compression
    _contextvars _crypt _csv _ctypes _curses _curses_panel _datetime _dbm _decimal _elementtree
    _frozen_importlib _frozen_importlib_external _functools _gdbm _hashlib _heapq _hmac _imp
    _interpchannels _interpqueues _interpreters _io _ios_support _json _locale _lsprof _lzma _markupbase
    _md5 _msi _multibytecodec _multiprocessing _opcode _opcode_metadata _operator _osx_support _overlapped
    _peg_parser _pickle _posixshmem _posixsubprocess _py_abc _py_warnings _pydatetime _pydecimal _pyio
    _pylong _pyrepl _queue _random _remote_debugging _scproxy _sha1 _sha2 _sha256 _sha3 _sha512 _signal
    _sitebuiltins _socket _sqlite3 _sre _ssl _stat _statistics _string _strptime _struct _suggestions
    _symtable _sysconfig _testcapi _testinternalcapi _thread _threading_local _tkinter _tokenize
    _tracemalloc _types _typing _uuid _warnings _weakref _weakrefset _winapi _winreg _wmi
    _xxsubinterpreters _xxtestfuzz _zoneinfo _zstd abc aifc annotationlib antigravity anydbm argparse
    array ast asynchat asyncio asyncore atexit audioop base64 bdb binascii binhex bisect builtins bz2
    cPickle cProfile cStringIO calendar cgi cgitb chunk cmath cmd code codecs codeop collections colorsys
    commands compileall compiler compression concurrent configparser contextlib contextvars cookielib copy
    copy_reg copyreg crypt csv ctypes curses dataclasses datetime dbhash dbm decimal difflib dircache dis
    distutils doctest dumbdbm dummy_thread dummy_threading email encodings ensurepip enum errno exceptions
    faulthandler fcntl filecmp fileinput fnmatch formatter fpectl fpformat fractions ftplib functools
    future_builtins gc gdbm genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac
    hotshot htmlentitydefs htmllib html http httplib idlelib ihooks imaplib imghdr imp importlib imputil
    inspect io ipaddress itertools json keyword lib2to3 linecache locale logging lzma macpath macurl2path
    mailbox mailcap marshal math md5 mhlib mimetools mimetypes mimify mmap modulefinder msilib msvcrt
    multifile multiprocessing mutex netrc new nis nntplib nt ntpath nturl2path numbers opcode operator
    optparse os os2emxpath ossaudiodev parser pathlib pdb pickle pickletools pipes pkgutil platform
    plistlib popen2 poplib posix posixfile posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc
    pydoc_data pyexpat queue quopri random re readline reprlib resource rexec rfc822 rlcompleter
    robotparser runpy sched secrets select selectors sets sgmllib sha shelve shlex shutil signal site
    smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre sre_compile sre_constants sre_parse ssl stat
    statistics statvfs string stringold stringprep strop struct subprocess sunau sunaudio symbol symtable
    sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios test textwrap this thread threading
    time timeit tkinter token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types
    typing unicodedata unittest urllib urllib2 urlparse user uu uuid venv warnings wave weakref webbrowser
    whichdb winreg winsound wsgiref xdrlib xml xmllib xmlrpc xmlrpclib zipapp zipfile zipimport zlib
    zoneinfo
""")

# Modules whose names people give to their own files and packages, with the classes that the library's have:
# any other class is the user's. Whole packages of that sort have none of note.
SHADOWED: Final[dict[str, frozenset[str]]] = {
    module: _words(names)
    for module, names in {
        "calendar": "Calendar HTMLCalendar LocaleHTMLCalendar LocaleTextCalendar TextCalendar",
        "chunk": "Chunk",
        "cmd": "Cmd",
        "code": "CommandCompiler InteractiveConsole InteractiveInterpreter",
        "commands": "",
        "compiler": "",
        "copy": "Error",
        "formatter": "AbstractFormatter AbstractWriter DumbWriter NullFormatter NullWriter",
        "imp": "NullImporter SourcelessFileLoader",
        "keyword": "",
        "new": "",
        "operator": "",
        "parser": "ASTType ParserError STType",
        "platform": "",
        "profile": "Profile",
        "queue": "Empty Full LifoQueue PriorityQueue Queue ShutDown SimpleQueue",
        "random": "Random SystemRandom",
        "resource": "",
        "sched": "Event",
        "select": "",
        "sets": "BaseSet ImmutableSet Set",
        "signal": "Handlers ItimerError Sigmasks Signals",
        "site": "",
        "statistics": "Counter Decimal Fraction KDE LinearRegression NormalDist StatisticsError",
        "string": "Formatter Template",
        "symbol": "",
        "test": "",
        "token": "",
        "trace": "CoverageResults Trace",
        "types": "CellType CodeType CoroutineType DynamicClassAttribute FrameType FunctionType GeneratorType"
        " LambdaType MethodType ModuleType TracebackType",
        "user": "",
    }.items()
}  # fmt: skip

_ERRORS = """
    ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError
    BrokenPipeError BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError
    ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError EncodingWarning EnvironmentError
    Exception ExceptionGroup FileExistsError FileNotFoundError FloatingPointError FutureWarning GeneratorExit
    IOError ImportError ImportWarning IndentationError IndexError InterruptedError IsADirectoryError KeyError
    KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError NotADirectoryError
    NotImplementedError OSError OverflowError PendingDeprecationWarning PermissionError ProcessLookupError
    PythonFinalizationError RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning
    StandardError StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError
    TimeoutError TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError
    UnicodeTranslateError UnicodeWarning UserWarning ValueError Warning ZeroDivisionError
"""
_PATHS = "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath"
_ABSTRACT = """
    AsyncGenerator AsyncIterable AsyncIterator Awaitable ByteString Callable Collection Container Coroutine
    Generator Hashable ItemsView Iterable Iterator KeysView Mapping MappingView MutableMapping MutableSequence
    MutableSet Reversible Sequence Set Sized ValuesView
"""
_ARITHMETIC = """
    abs add and_ concat contains eq floordiv ge gt index inv invert is_ is_not le lshift lt matmul mod mul ne
    neg not_ or_ pos pow rshift sub truediv truth xor
"""
_MATH = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh degrees dist erf erfc exp exp2 expm1
    fabs floor fmod gamma hypot isclose isfinite isinf isnan isqrt ldexp lgamma log log10 log1p log2 pow
    radians remainder sin sinh sqrt tan tanh trunc
"""

# `getitem`, `reduce` and `type` are only inert as pickles spell types with them, `iter` over what is no
# function, `partial` while nobody calls it: calls.py and reach.py look at each use.
INERT_STDLIB: Final[dict[str, str]] = {
    "_codecs": "encode",
    "_functools": "partial reduce",
    "_io": "BytesIO StringIO",
    "_operator": f"{_ARITHMETIC} attrgetter getitem itemgetter",
    "_struct": "Struct",
    "abc": "ABC",
    "argparse": "Namespace",
    "array": "array ArrayType _array_reconstructor",
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple"
    " NoneType Ellipsis NotImplemented ellipsis enumerate iter memoryview reversed type zip abs all any chr"
    " divmod hash id len max min ord pow round sorted sum" + _ERRORS,
    "collections": "ChainMap Counter OrderedDict UserDict UserList UserString defaultdict deque",
    "collections.abc": _ABSTRACT,
    "contextlib": "nullcontext",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "dataclasses": "Field InitVar _DataclassParams _HAS_DEFAULT_FACTORY_CLASS _KW_ONLY_TYPE _MISSING_TYPE",
    "datetime": "UTC date datetime time timedelta timezone tzinfo",
    "decimal": "Context Decimal",
    "enum": "Enum Flag IntEnum IntFlag ReprEnum StrEnum auto",
    "exceptions": _ERRORS,
    "fractions": "Fraction",
    "functools": "partial reduce",
    "http": "HTTPMethod HTTPStatus",
    "inspect": "BoundArguments Parameter Signature _ParameterKind _empty",
    "io": "BytesIO StringIO",
    "ipaddress": "IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network",
    "itertools": "chain combinations combinations_with_replacement compress count cycle islice permutations"
    " product repeat zip_longest",
    "logging": "Logger LoggerAdapter NullHandler PlaceHolder RootLogger getLogger",
    "math": _MATH,
    "numbers": "Complex Integral Number Rational Real",
    "operator": f"{_ARITHMETIC} attrgetter getitem itemgetter",
    "pathlib": _PATHS,
    "pathlib._local": _PATHS,
    "random": "Random",
    "re": "RegexFlag _compile",
    "signal": "Handlers Signals",
    "string": "Formatter Template",
    "struct": "Struct",
    "time": "struct_time",
    "types": "EllipsisType GenericAlias MappingProxyType NoneType NotImplementedType SimpleNamespace"
    " UnionType",
    "typing": "AbstractSet Any AnyStr AsyncIterable AsyncIterator Awaitable ChainMap ClassVar Collection"
    " Container Coroutine Counter DefaultDict Deque Dict Final FrozenSet Generic List Literal NoReturn"
    " Optional OrderedDict Protocol Self SupportsAbs SupportsFloat SupportsIndex SupportsInt Text Tuple Type"
    " TypeVar Union _LiteralGenericAlias _SpecialForm _UnionGenericAlias " + _ABSTRACT,
    "uuid": "SafeUUID UUID",
    "zoneinfo": "ZoneInfo ZoneInfo._unpickle",
}
