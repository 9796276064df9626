"""What tracebacks look like, line by line. Every pattern is linear in the line's length."""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping

HEADER = re.compile(r"(?:Exception Group )?Traceback \(most recent call last\)")
LINK = re.compile(r"^[\s|>]*(?:During handling of the above exception|The above exception was the direct cause)\b")
#: The end of such a line, which a narrow terminal put on the next.
LINK_REST = re.compile(r"(?:(?:of|the|following|another|exception|occurred)[ :]*)+")
LONGEST_PREFIX = 200
GROUP_PREFIX = re.compile(r"^( *)[|+] ")

# -- CPython -----------------------------------------------------------------------------------

FRAME = re.compile(
    r"^\s*File [\"“](?P<file>[^\"“”]+)[\"”], line (?P<line>\d{1,9}|\?|None)(?:,? in (?P<function>.*))?\s*$"
)
REPEATED = re.compile(r"^\s*\[Previous line repeated (\d{1,9}) more times?\]")
UNDERLINE = re.compile(r"[~^][\s~^]*")
CUT = re.compile(r"(?:[\[(<{]\s*)?(?:\.\.\.|…|<?snip>?|\d+ (?:lines|frames) (?:hidden|omitted|elided))(?:[^\w]*)", re.I)
EXCEPTION = re.compile(r"(?P<type>[A-Za-z_][\w.]*)(?::(?: (?P<message>.*)|\s*(?P<empty>)))?\s*", re.DOTALL)
SUGGESTION = re.compile(r"(?:\. Did you mean: '[^'\n]*'\?| Did you forget to import '[^'\n]*'\?)\Z")
FENCE = re.compile(r"^\s*(?:```|~~~\w*$)")
WINDOWS_PATH = re.compile(r"[A-Za-z]:\\|\\\\")
WINDOWS_FILE = re.compile(r"'([A-Za-z]:\\[^'\n]+)'")
ABSENT_FILE = re.compile(r"\bnot found: ([^\n'\"]{1,500}\.\w{2,11})\s*$")

#: What is no part of a message any more: prompts, lines of a log, rules of exception groups and notebooks.
OTHER_TEXT = re.compile(
    r"^(?:\([\w./-]+\) )?(?:[\w.-]+@[\w.-]+[:~ ][^\n]{0,200}[$#%](?: |$)|[$#%] \S|PS [A-Z]:\\|[A-Z]:\\[^>\n]{0,200}>)"
    r"|^>>> |^In ?\[\d+\]:"
    r"|^\[?\d{4}-\d\d-\d\d[T ]\d\d:|^\[?\d\d:\d\d:\d\d"
    r"|^\[?(?:DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\b[:\s\]]"
    r"|^ *[-+]*\+[-+]{3}|^[-─=]{20,}\s*$|^[╭╰│]"
)

_SUFFIX = re.compile(
    r"(?:Error|Exception|Warning|Interrupt|Exit|Group|Iteration|Timeout|Fault|Failure|Abort|Expired|Enabled)$"
)
_LEVELS = frozenset({"DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL", "TRACE", "NOTE", "HINT"})
_FILE_ENDINGS = frozenset(
    {"py", "json", "safetensors", "bin", "txt", "model", "npz", "pt", "pth", "wav", "toml", "yaml"}
)
_CAMEL = re.compile(r"[A-Z]\w*[a-z]\w*")


def is_type(name: str, has_message: bool, after_frames: bool) -> bool:
    """Whether ``name`` at the beginning of a line is the type of an exception rather than any word."""
    last = name.rpartition(".")[2]
    if not last or last in _LEVELS:
        return False
    if _SUFFIX.search(last) or is_builtin(last):
        return True
    if not after_frames or last.lower() in _FILE_ENDINGS or ".." in name:
        return False
    # zmq.error.Again, socket.timeout, MyTrouble: after frames nothing else stands there.
    return "." in name.strip(".") or (has_message and _CAMEL.fullmatch(last) is not None)


def is_bare_type(text: str) -> bool:
    """``text`` is nothing but the type of an exception."""
    last = text.rpartition(".")[2]
    return (
        len(text) < 200
        and re.fullmatch(r"[A-Za-z_][\w.]*", text) is not None
        and (is_builtin(last) or re.search(r"(?:Error|Exception|Interrupt)$", last) is not None)
    )


def is_builtin(name: str) -> bool:
    """``name`` is one of Python's own exceptions."""
    known = getattr(builtins, name, None)
    return isinstance(known, type) and issubclass(known, BaseException)


#: Modules of exceptions that a log names without them.
HOME_OF: Mapping[str, str] = {
    **dict.fromkeys(
        (
            "LocalEntryNotFoundError",
            "OfflineModeIsEnabled",
            "EntryNotFoundError",
            "RepositoryNotFoundError",
            "RevisionNotFoundError",
            "GatedRepoError",
            "HfHubHTTPError",
            "HFValidationError",
        ),
        "huggingface_hub.errors",
    ),
    "JSONDecodeError": "json.decoder",
    "SafetensorError": "safetensors_rust",
}

#: faulthandler, which prints the innermost frame first.
DUMP = re.compile(r"^\s*(?:(?P<current>Current t)|T)hread 0x[0-9a-fA-F]+.*most recent call first")

# -- rich: a box with a row for each line --------------------------------------------------------

BOX = re.compile(r"[╭┌┏╔│║├╰└─━]|\+-{2}")
BOX_BOTTOM = re.compile(r"^(?:[╰└┗╚][─━═]{3}|\+-{3}[-+]*$)")
BOX_ROW = re.compile(r"[│┃║|] ?(.*?) ?[│┃║|]", re.DOTALL)
BOX_CODE = re.compile(r"^(?: {2}|(?P<here>[❱>]) ) *(?P<line>\d{1,9})(?: (?P<source>.*))?$")
BOX_GUIDES = re.compile(r"^(?:[│|]\s*)+")
BOX_LINE = re.compile(r"in (?P<function>[^:]+):(?P<line>\d{1,9})")
BOX_PLACE = re.compile(r"(?P<file>[^:]*(?::[\\/][^:]*)?):(?P<line>\d{1,9})(?: in (?P<function>.+))?", re.DOTALL)
BOX_FULL = re.compile(r":\d{1,9} in$")
BOX_NOISE = re.compile(r"\.\.\. \d+ frames hidden|[│|]")

# -- IPython and Jupyter -------------------------------------------------------------------------

NAMED_HEADER = re.compile(r"(\s*)([A-Za-z_][\w.]*)( +)")
ARROW = re.compile(r"^-{1,5}> ?(?P<line>\d{1,9})(?: (?P<source>.*))?$")
NUMBERED = re.compile(r"^\s+\d{1,9}(?:\s|$)")
_PLACES = (
    re.compile(r"File (?P<file>\S.*?):(?P<line>\d{1,9})(?:, in (?P<function>.*))?"),
    re.compile(
        r"(?P<file>(?:Cell|Input) In ?\[\d{1,9}\]), (?:in )?<?(?:cell )?line:? (?P<line>\d{1,9})>?"
        r"(?:\(\)|, in (?P<function>.*))?"
    ),
    re.compile(r"(?P<file>Input In ?\[\d{1,9}\]), in (?P<function>.*)"),
    re.compile(r"(?P<file><ipython-input-[^>]*>|[~/.\w][^\n]*?\.py) in (?P<function>.*)"),
)


def ipython_place(text: str) -> tuple[str, str | None, str] | None:
    """File, line and function of a line that begins a frame in IPython's style, None for any other."""
    for pattern in _PLACES:
        found = pattern.fullmatch(text)
        if found:
            parts = found.groupdict()
            function = (parts.get("function") or "").partition("(")[0]
            return parts["file"], parts.get("line"), function or ("<module>" if "In" in parts["file"][:8] else "")
    return None
