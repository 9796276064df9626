"""Pasted texts as exceptions: every style of traceback, what surrounds it, and what is left of one."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlx_diagnose.collectors.exception_docs import ExceptionDoc, Frame
from mlx_diagnose.collectors.pasted_lines import decode, plain_lines
from mlx_diagnose.collectors.traceback_text import CUT_OFF, parse

PLAIN = """Traceback (most recent call last):
  File "/opt/env/lib/python3.11/site-packages/mlx_audio/tts/utils.py", line 123, in get_model_and_args
    arch = importlib.import_module(f"mlx_audio.tts.models.{model_type}")
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "<frozen importlib._bootstrap>", line 1206, in _gcd_import
ModuleNotFoundError: No module named 'mlx_lm'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/home/me/speak.py", line 9, in <module>
    model = load_model("voice")
  File "/opt/env/lib/python3.11/site-packages/mlx_audio/tts/utils.py", line 127, in get_model_and_args
    raise ValueError(msg)
ValueError: Model type llama not supported.
"""


def brief(document: ExceptionDoc) -> tuple[str, str, str]:
    return document.role, document.type, document.message


def only(text: str) -> ExceptionDoc:
    (document,) = parse(text).chain
    return document


def check_plain(text: str) -> None:
    """``text`` is :data:`PLAIN` in other clothes."""
    raised, cause = parse(text).chain
    assert brief(raised) == ("raised", "ValueError", "Model type llama not supported.")
    assert brief(cause) == ("cause", "ModuleNotFoundError", "No module named 'mlx_lm'")
    assert [frame.function for frame in raised.frames] == ["<module>", "get_model_and_args"]
    assert [frame.line for frame in cause.frames] == [123, 1206]
    assert raised.frames[0].source == 'model = load_model("voice")'
    assert cause.frames[0].source == 'arch = importlib.import_module(f"mlx_audio.tts.models.{model_type}")'


def test_a_chain_of_python() -> None:
    check_plain(PLAIN)
    raised, cause = parse(PLAIN).chain
    assert cause.frames[1] == Frame("<frozen importlib._bootstrap>", 1206, "_gcd_import")
    assert (raised.order, cause.order) == (0, 1)
    assert raised.is_a("Exception")
    assert cause.is_a("ImportError")


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: textwrap.indent(text, "> ", lambda line: True),
        lambda text: textwrap.indent(text, ">> ", lambda line: True),
        lambda text: textwrap.indent(text, "    "),
        lambda text: textwrap.indent(text, "2026-01-02T03:04:05.678Z ", lambda line: True),
        lambda text: textwrap.indent(text, "app-1  | ", lambda line: True),
        lambda text: f"2026-01-02 03:04:05,678 - ERROR - mlx_audio - {text}",
        lambda text: f"ERROR:root:Model type llama not supported.\n{text}",
        lambda text: f"It fails:\n\n```pytb\n{text}```\n\nAny idea? ValueError: what is it?",
        lambda text: f"(venv) me@mac voices % python speak.py\n{text}(venv) me@mac voices % pip list\n",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "Fetching 5 files:  20%|##\rFetching 5 files: 100%|#####\r" + text,
        lambda text: (
            "\x1b[0m" + text.replace("ValueError", "\x1b[1;35mValueError\x1b[0m").replace("File", "\x1b[35mFile")
        ),
        lambda text: text.replace("ValueError", "[1;35mValueError[0m"),
        lambda text: text + "RESULT exception builtins.ValueError: Model type llama not supported.\nEXIT 1\n",
        lambda text: text + "\nProcess finished with exit code 1\n",
        lambda text: text + "2026-01-02 03:04:05 INFO shutting down\n",
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n", "  \n").replace("importlib._bootstrap", "importlib._bootstrap"),
    ],
)
def test_what_surrounds_a_traceback_is_no_part_of_it(dress: Callable[[str], str]) -> None:
    check_plain(dress(PLAIN))


def test_bytes_of_every_encoding_a_shell_writes() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        check_plain(decode(PLAIN.encode(encoding)))
    assert only(decode(b"ValueError: caf\xe9")).message == "caf�"


def test_windows_paths() -> None:
    document = only(
        "Traceback (most recent call last):\n"
        '  File "C:\\Users\\me\\venv\\Lib\\site-packages\\mlx_audio\\utils.py", line 199, in load_weights\n'
        "    raise FileNotFoundError(\n"
        "FileNotFoundError: [Errno 2] No such file or directory: 'C:\\\\Users\\\\me\\\\voice\\\\af.pt'\n"
    )
    assert document.frames[0].file == "C:/Users/me/venv/Lib/site-packages/mlx_audio/utils.py"
    assert document.attribute("filename") == "C:/Users/me/voice/af.pt"


def test_a_message_of_many_lines() -> None:
    document = only(
        "Traceback (most recent call last):\n"
        '  File "base.py", line 185, in load_weights\n'
        "    raise ValueError(\n"
        "ValueError: Received 3 parameters not in model: \na.weight,\nb.weight,\nc.weight.\n"
        "$ ls\nmodel.safetensors\n"
    )
    assert document.message == "Received 3 parameters not in model: \na.weight,\nb.weight,\nc.weight."


def test_a_message_that_begins_on_the_next_line() -> None:
    document = only(
        'Traceback (most recent call last):\n  File "u.py", line 3, in f\n    raise ImportError(\n'
        "ImportError: \nMissing dependency while loading spark: No module named 'soxr'\nInstall it: pip install soxr\n"
        "\nWhat now?\n"
    )
    assert document.message.splitlines() == [
        "",
        "Missing dependency while loading spark: No module named 'soxr'",
        "Install it: pip install soxr",
    ]


def test_repeated_lines_are_frames() -> None:
    document = only(
        'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\n'
        "  [Previous line repeated 996 more times]\nRecursionError: maximum recursion depth exceeded\n"
    )
    assert len(document.frames) == 997
    assert {frame.source for frame in document.frames} == {"f()"}
    huge = only(
        'Traceback (most recent call last):\n  File "a", line 1\n'
        "  [Previous line repeated 999999999 more times]\nKeyError: 1"
    )
    assert len(huge.frames) < 5000


def test_statements_over_several_lines() -> None:
    """Python 3.13 shows all of a statement, with marks between its lines."""
    document = only(
        'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    load(\n    ~~~~^\n'
        '        "x",\n        ^^^^\n    ...<3 lines>...\n    )\n    ^\n'
        '  File "b.py", line 2, in load\n    1/0\n    ~^~\n'
        "ZeroDivisionError: division by zero\n"
    )
    assert [(frame.file, frame.source) for frame in document.frames] == [("a.py", "load("), ("b.py", "1/0")]


def test_cut_outs() -> None:
    document = only(
        'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    ...\n[...]\n'
        '  File "/x/mlx_audio/utils.py", line 393, in base_load_model\n    model.load_weights(w)\n...\n'
        "ValueError: Missing 2 parameters: \na,\nb.\n"
    )
    assert [frame.source for frame in document.frames] == ["", "model.load_weights(w)"]
    assert document.message == "Missing 2 parameters: \na,\nb."
    headless = only('    model = f(x)\n  File "b.py", line 2, in f\n    raise KeyError(1)\nKeyError: 1\n')
    assert (headless.type, headless.frames) == ("KeyError", (Frame("b.py", 2, "f", "", "raise KeyError(1)"),))
    endless = only('Traceback (most recent call last):\n  File "b.py", line 2, in f\n    raise KeyError(1)\n')
    assert (endless.type, len(endless.frames)) == (CUT_OFF, 1)


def test_indentation_that_was_lost() -> None:
    document = only('Traceback (most recent call last):\nFile "b.py", line 2, in f\nraise KeyError(1)\nKeyError: 1\n')
    assert (document.type, document.frames[0].source) == ("KeyError", "raise KeyError(1)")


def test_the_traceback_that_speaks_of_mlx_audio_counts() -> None:
    other = 'Traceback (most recent call last):\n  File "x.py", line 1, in g\n    g()\nOSError: else\n'
    found = parse(f"{other}\n{PLAIN}\n{other}")
    assert found.raised is not None
    assert found.raised.message == "Model type llama not supported."
    assert found.others == 2
    assert only(other + "\n" + other.replace("OSError: else", "KeyError: 'last'")).type == "KeyError"


def test_types_of_other_modules_and_their_messages() -> None:
    document = only(
        'Traceback (most recent call last):\n  File "h.py", line 3, in f\n    raise X\n'
        "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find it\n"
    )
    assert (document.module, document.type) == ("huggingface_hub.errors", "LocalEntryNotFoundError")
    assert (
        only('Traceback (most recent call last):\n  File "h.py", line 3, in f\n    s()\nsocket.timeout: timed out').type
        == "timeout"
    )
    assert only("LocalEntryNotFoundError: Cannot find it").module == "huggingface_hub.errors"


def test_suggestions_of_python_are_no_part_of_the_message() -> None:
    head = 'Traceback (most recent call last):\n  File "h.py", line 3, in f\n    x\n'
    assert only(f"{head}AttributeError: module 'm' has no attribute 'a'. Did you mean: 'b'?").message == (
        "module 'm' has no attribute 'a'"
    )


GROUP = """  + Exception Group Traceback (most recent call last):
  |   File "serve.py", line 3, in main
  |     async with group:
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/env/mlx_audio/utils.py", line 302, in get_model_class
    |     raise ValueError(msg)
    | ValueError: Model type x not supported for tts.
    +------------------------------------
"""


def test_of_an_exception_group_its_part_counts() -> None:
    document = only(GROUP)
    assert brief(document) == ("raised", "ValueError", "Model type x not supported for tts.")
    assert document.frames == (Frame("/env/mlx_audio/utils.py", 302, "get_model_class", "", "raise ValueError(msg)"),)


def rich_text(error: BaseException, width: int, ascii_only: bool) -> str:
    from rich.console import Console
    from rich.traceback import Traceback

    console = Console(file=io.StringIO(), width=width, legacy_windows=ascii_only, force_terminal=not ascii_only)
    shown = Traceback.from_exception(type(error), error, error.__traceback__, width=width, show_locals=True)
    console.print(shown)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_may_end_wherever_the_path_is_long_enough() -> None:
    with pytest.raises(ValueError, match="Expected") as caught:
        _raise_in_a_chain()
    expected = [(e.filename, e.lineno, e.name) for e in traceback.extract_tb(caught.value.__traceback__)]
    for width in range(45, 130):
        raised, _ = parse(rich_text(caught.value, width, True)).chain
        assert [(f.file, f.line, f.function) for f in raised.frames] == expected, width


def test_a_local_variable_that_holds_a_traceback_is_no_other_one() -> None:
    text = "Traceback (most recent call last):\n  File 'a.py', line 1"
    with pytest.raises(ValueError, match="Expected") as caught:
        _raise_in_a_chain()
    (raised, _) = parse(rich_text(caught.value, 100, True)).chain
    assert text and len(raised.frames) == 2


def _raise_in_a_chain() -> None:
    try:
        raise KeyError("hidden_size")
    except KeyError as error:
        raise ValueError(
            "Expected shape (64, 3, 64) but received shape (64, 64, 3) for parameter decoder.conv.weight"
        ) from error


@pytest.mark.parametrize("width", [60, 100, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_boxes_of_rich(width: int, ascii_only: bool) -> None:
    with pytest.raises(ValueError, match="Expected") as caught:
        _raise_in_a_chain()
    raised, cause = parse(rich_text(caught.value, width, ascii_only)).chain
    assert brief(raised) == ("raised", "ValueError", str(caught.value))
    assert brief(cause) == ("cause", "KeyError", "'hidden_size'")
    expected = traceback.extract_tb(caught.value.__traceback__)
    assert [(f.file, f.line, f.function) for f in raised.frames] == [(e.filename, e.lineno, e.name) for e in expected]
    assert cause.frames[0].source == 'raise KeyError("hidden_size")'


NOTEBOOK = """---------------------------------------------------------------------------
ModuleNotFoundError                       Traceback (most recent call last)
File ~/env/lib/python3.12/site-packages/mlx_audio/utils.py:305, in get_model_class(model_type, model_name)
    304 try:
--> 305     arch = importlib.import_module(module_path)
    306 except ImportError as e:

    [... skipping hidden 1 frame]

File <frozen importlib._bootstrap>:1204, in _gcd_import(name, package, level)

ModuleNotFoundError: No module named 'misaki'

During handling of the above exception, another exception occurred:

ValueError                                Traceback (most recent call last)
Cell In[3], line 2
      1 from mlx_audio.tts.utils import load_model
----> 2 model = load_model("kokoro")

File ~/env/lib/python3.12/site-packages/mlx_audio/utils.py:317, in get_model_class(model_type, model_name)
    315     msg = f"Model type {model_type} not supported."
    316     logging.error(msg)
--> 317     raise ValueError(msg)

ValueError: Model type kokoro not supported.
"""
OLD_NOTEBOOK = """---------------------------------------------------------------------------
KeyError                                  Traceback (most recent call last)
Input In [7], in <cell line: 1>()
----> 1 load_model("kokoro")

~/env/lib/python3.9/site-packages/mlx_audio/utils.py in load_model(path, lazy)
     10 def load_model(path, lazy=False):
---> 11     return config["model_type"]

KeyError: 'model_type'
"""


def test_notebooks() -> None:
    raised, cause = parse(NOTEBOOK).chain
    assert brief(raised) == ("raised", "ValueError", "Model type kokoro not supported.")
    assert brief(cause) == ("cause", "ModuleNotFoundError", "No module named 'misaki'")
    assert [(f.file.rpartition("/")[2], f.line, f.function, f.source) for f in raised.frames] == [
        ("Cell In[3]", 2, "<module>", 'model = load_model("kokoro")'),
        ("utils.py", 317, "get_model_class", "raise ValueError(msg)"),
    ]
    assert [f.function for f in cause.frames] == ["get_model_class", "_gcd_import"]
    old = only(OLD_NOTEBOOK)
    assert brief(old) == ("raised", "KeyError", "'model_type'")
    assert [(f.line, f.function, f.source) for f in old.frames] == [
        (1, "<module>", 'load_model("kokoro")'),
        (11, "load_model", 'return config["model_type"]'),
    ]


@pytest.mark.parametrize(
    ("text", "type", "message"),
    [
        ("ValueError: Model type dia not supported.", "ValueError", "Model type dia not supported."),
        ("it says `KeyError: 'sample_rate'", "KeyError", "'sample_rate'"),
        ("ERROR:root:Model type dia not supported.", "ValueError", "Model type dia not supported."),
        ("E       OSError: gated", "OSError", "gated"),
        ("Error: No module named 'sentencepiece'", "ModuleNotFoundError", "No module named 'sentencepiece'"),
        (
            "RuntimeError: There is no Stream(gpu, 0) in current thread.",
            "RuntimeError",
            "There is no Stream(gpu, 0) in current thread.",
        ),
        ("NotImplementedError", "NotImplementedError", ""),
        (
            "UserWarning: old\nRESULT builtins.ValueError: Missing 2 parameters: \na,\nb.",
            "ValueError",
            "Missing 2 parameters: \na,\nb.",
        ),
    ],
)
def test_a_last_line_alone(text: str, type: str, message: str) -> None:
    document = only(text)
    assert (document.type, document.message, document.frames) == (type, message, ())


CRASH = """Fatal Python error: Segmentation fault

Thread 0x00007000 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 320 in wait

Current thread 0x00007f11 (most recent call first):
  File "/env/lib/python3.11/site-packages/mlx_audio/utils.py", line 205 in load_weights
  File "speak.py", line 3 in <module>

Extension modules: mlx.core (total: 1)
"""


def test_crashes() -> None:
    crash = parse(CRASH).crash
    assert crash is not None
    assert (crash.signal, crash.detail) == ("SIGSEGV", "Segmentation fault")
    assert [(frame.function, frame.line) for frame in crash.frames] == [("<module>", 3), ("load_weights", 205)]
    for text, signal in {
        "zsh: killed     python speak.py": "SIGKILL",
        "[1]    4711 segmentation fault  python speak.py": "SIGSEGV",
        "zsh: abort      python speak.py": "SIGABRT",
        "libc++abi: terminating due to uncaught exception of type std::runtime_error: [metal::malloc] 1": "SIGABRT",
    }.items():
        crash = parse(text).crash
        assert crash is not None, text
        assert crash.signal == signal


def test_installers() -> None:
    (told,) = parse(
        "ERROR: Could not find a version that satisfies the requirement misaki>=0.8.2 (from versions: none)\n"
        "ERROR: No matching distribution found for misaki>=0.8.2\n"
    ).complaints
    assert (told.tool, told.what, told.package, told.requirement) == ("pip", "no-release", "misaki", "misaki>=0.8.2")
    (told,) = parse(
        "ERROR: Cannot install a==1 and a==2 because these package versions have conflicting dependencies.\n"
        "The conflict is caused by:\n    a 1 depends on b>=2\n    a 2 depends on b>=2\n"
    ).complaints
    assert (told.what, told.package, told.requirement) == ("conflict", "b", "b>=2")
    (told,) = parse(
        "  × No solution found when resolving dependencies:\n  ╰─▶ Because a depends on b>=2 ..."
    ).complaints
    assert (told.tool, told.what) == ("uv", "conflict")


@pytest.mark.parametrize(
    "text", ["", "\n\n", "hello", "I like tracebacks.", "Traceback (most recent call last):", "nothing: fails"]
)
def test_texts_without_a_failure(text: str) -> None:
    assert parse(text).tells_nothing


# -- properties ------------------------------------------------------------------------------------

_PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "Traceback (most recent call last):\n",
            '  File "a.py", line 3, in f\n',
            "    code\n",
            "ValueError: x\n",
            "╭──── Traceback (most recent call last) ────╮\n",
            "│ a.py:1 in f │\n",
            "│ ❱ 3 │ code │\n",
            "╰────╯\n",
            "KeyError          Traceback (most recent call last)\n",
            "---> 12 code\n",
            "File ~/a.py:3, in f(x)\n",
            "  | ",
            "  + Exception Group Traceback (most recent call last):\n",
            "  [Previous line repeated 3 more times]\n",
            "During handling of the above exception, another exception occurred:\n",
            "Fatal Python error: Aborted\n",
            "ERROR: No matching distribution found for ",
            "\x1b[31m",
            "\n",
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_PIECES, max_size=25).map("".join))
def test_no_text_breaks_it(text: str) -> None:
    found = parse(text)
    for document in found.chain:
        assert document.type
        assert all(frame.line is None or frame.line >= 0 for frame in document.frames)


_WORDS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="`\x7f\xa0\xad>"), min_size=1, max_size=12
)
# A line that looks like a prompt or a log ends a message, on purpose: these begin with a letter.
_LINES = st.lists(_WORDS, min_size=1, max_size=4).map(lambda words: "w" + " ".join(words))
_MESSAGES = st.lists(_LINES, min_size=1, max_size=3).map("\n".join)
_TYPES = st.sampled_from([ValueError, KeyError, OSError, ImportError, RuntimeError, NotImplementedError])


def _rises(links: list[tuple[type[Exception], str, int, bool]]) -> None:
    """Raise a chain; each link is a type, a message, a depth of calls, and whether it is an explicit cause."""
    (kind, message, depth, explicit), *earlier = links
    if depth:
        _rises([(kind, message, depth - 1, explicit), *earlier])
    if not earlier:
        raise kind(message)
    try:
        _rises(earlier)
    except Exception as error:
        if explicit:
            raise kind(message) from error
        raise kind(message)  # noqa: B904


@settings(max_examples=60, deadline=None)
@example([(ValueError, "w\x85", 0, False)])
@given(st.lists(st.tuples(_TYPES, _MESSAGES, st.integers(0, 5), st.booleans()), min_size=1, max_size=3))
def test_what_python_prints_reads_back(links: list[tuple[type[Exception], str, int, bool]]) -> None:
    error: BaseException | None = None
    try:
        _rises(links)
    except Exception as caught:
        error = caught
    text = "".join(traceback.format_exception(error))
    for document in parse(text).chain:
        assert error is not None
        assert (document.type, document.message) == (type(error).__name__, str(error))
        assert [(f.file, f.line, f.function, f.source) for f in document.frames] == [
            (f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(error.__traceback__)
        ]
        error = error.__cause__ or error.__context__
    assert error is None


def test_what_an_interpreter_prints_reads_back(tmp_path: Path) -> None:
    script = tmp_path / "speak.py"
    script.write_text("import json\ndef f(x):\n    return f(x + 1) if x < 9 else json.loads('{')\nf(0)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    document = only(done.stderr)
    assert (document.module, document.type) == ("json.decoder", "JSONDecodeError")
    assert document.message.startswith("Expecting property name enclosed in double quotes: line 1 column 2")
    assert [frame.function for frame in document.frames[:11]] == ["<module>", *["f"] * 10]


def test_time_is_linear() -> None:
    """Counted in lines read, not in seconds: twice the text must not be read more than twice."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    def calls_for(text: str) -> int:
        nonlocal calls
        calls = 0
        sys.setprofile(count)
        try:
            parse(text)
        finally:
            sys.setprofile(None)
        return calls

    for piece in (PLAIN, GROUP, NOTEBOOK, CRASH, "  | " * 50 + "\n", "a.b.C: d\n"):
        assert calls_for(piece * 40) < 2.3 * calls_for(piece * 20) + 200


@pytest.mark.parametrize(
    "unit", [" ", "a", "a.", "A", ": ", "File ", '"', "│ ", "| ", "~", "^ ", "> ", "\x1b[", "\x1b]", "(", "in "]
)
def test_no_pattern_runs_away_on_a_long_line(unit: str) -> None:
    """A pattern that is not linear in the length of a line would take minutes here."""
    long = unit * (200_000 // len(unit))
    for text in (
        long,
        f"Traceback (most recent call last):\n{long}\n",
        f'  File "a", line 1, in {long}x',
        f"KeyError: {long}\n{long}",
    ):
        assert len(plain_lines(text)) >= 1
        parse(text)
