"""``diagnose --traceback``: where the text comes from, what may stand beside it, exit codes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.engine.model import ExitCode

MISSING = "ValueError: Missing 2 parameters: \ndecoder.a.weight,\ndecoder.b.weight.\n"


@pytest.fixture
def pasted(tmp_path: Path) -> Callable[[str], str]:
    """The path of a file that holds a text."""

    def write(text: str) -> str:
        path = tmp_path / "trace.txt"
        path.write_text(text)
        return str(path)

    return write


def test_a_cause_is_named(command: Callable[..., Any], pasted: Callable[[str], str]) -> None:
    ran = command("--traceback", pasted(MISSING))
    assert ran.code == ExitCode.FAILURE
    assert "weights/missing" in ran.out
    assert "Would tell more" in ran.out
    assert not ran.err


def test_json_and_why(command: Callable[..., Any], pasted: Callable[[str], str]) -> None:
    ran = command("--traceback", pasted(MISSING), "--json")
    report = json.loads(ran.out)
    assert (ran.code, report["verdict"], report["target"]["model"]) == (ExitCode.FAILURE, "fails", "<traceback>")
    assert report["needs"]
    proof = command("why", "last", "f1")
    assert proof.code == ExitCode.LOADS
    assert "tensor_difference-1" in proof.out
    assert "decoder.a.weight" in proof.out
    assert command("why-not", "last", "weights-shard-absent").code == ExitCode.LOADS


def test_standard_input(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, pasted: Callable[[str], str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MISSING.encode("utf-16"))))
    assert "weights/missing" in command("--traceback", "-").out


def test_no_rule_and_no_traceback(command: Callable[..., Any], pasted: Callable[[str], str]) -> None:
    assert command("--traceback", pasted("ZeroDivisionError: division by zero")).code == ExitCode.INCONCLUSIVE
    ran = command("--traceback", pasted("It does not work."))
    assert ran.code == ExitCode.INCONCLUSIVE
    assert "There is no traceback in the text" in ran.out
    assert "tells of no failure" in ran.out
    assert command("--traceback", pasted(""), "--exit-zero").code == ExitCode.LOADS


def test_errors_of_usage(command: Callable[..., Any], pasted: Callable[[str], str], tmp_path: Path) -> None:
    file = pasted(MISSING)
    for words, reference, told in (
        (("--traceback", str(tmp_path / "trace.tx")), "no-such-traceback", "Did you mean"),
        (("--traceback", str(tmp_path)), "no-such-traceback", "directory"),
        (("--traceback", "no\0name"), "no-such-traceback", "null"),
        (("./model", "--traceback", file), "model-and-traceback", "diagnose ./model"),
        (("--traceback", file, "--python", "x"), "option-without-run", "--python"),
        (("--traceback", file, "--only-static"), "option-without-run", "--only-static"),
        (("--traceback", file, "--offline"), "option-without-run", "--online"),
        (("--only-static",), "missing-argument", "MODEL"),
    ):
        ran = command(*words)
        assert ran.code == ExitCode.USAGE, words
        assert f"ref   {reference}" in ran.err
        assert told in ran.err
        assert not ran.out


def test_nothing_is_run(pasted: Callable[[str], str]) -> None:
    """Neither mlx-audio nor a process is needed for it."""
    code = (
        "import sys; from mlx_diagnose.engine.cli import main; "
        f"main(['--traceback', {pasted(MISSING)!r}]); "
        "print([m for m in ('mlx', 'mlx_audio', 'transformers', 'torch', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
