from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from mlx_diagnose.engine.cli._errors import error_lines, report_crash
from mlx_diagnose.engine.model import DiagnoseError, ExitCode, RuleError
from mlx_diagnose.engine.report.view import View

TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz12345678"


def test_an_error_has_one_form(snapshot: SnapshotAssertion) -> None:
    error = RuleError(
        "invalid-rules",
        "2 rule files cannot be used, which is told in a line that is longer than the terminal is wide",
        why="a.yaml:1:2: unknown key 'fact'\nb.yaml:3:4: \x1b[31mno such kind",
        next_step="Correct the files.",
    )
    assert "\n".join(error_lines(error, View())) == snapshot


def test_an_error_with_nothing_to_add_is_short() -> None:
    assert list(error_lines(DiagnoseError("some-ref", "It failed."), View())) == [
        "diagnose: It failed.",
        "  ref   some-ref",
    ]


def test_a_crash_is_logged_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "a secret value")
    try:
        raise KeyError(f"a secret value and {TOKEN}")
    except KeyError as error:
        report_crash(error, ["a/b", "--revision", TOKEN])
    told = capsys.readouterr().err
    (log,) = (tmp_path / "crashes").iterdir()
    assert "A defect of diagnose itself: KeyError" in told
    assert log.name in told
    assert "Traceback" not in told
    text = log.read_text()
    assert "Traceback" in text
    assert "--revision" in text
    for secret in (TOKEN, "a secret value"):
        assert secret not in text + told


def test_a_crash_where_no_log_can_be_kept_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("MLX_DIAGNOSE_HOME", str(blocker))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report_crash(ValueError("x"), [])
    assert "diagnose-crash-" in capsys.readouterr().err
    assert len(list(tmp_path.glob("diagnose-crash-*.txt"))) == 1


#: A subcommand that is not there, put in front of the command line by a process of its own.
SCRIPT = """
import sys
import click
from mlx_diagnose.engine.cli import main, _commands

@click.command()
def broken():
    {body}

_commands.subcommands = lambda: ["broken"]
_commands.load = lambda name: broken
sys.exit(main(["broken"]))
"""


def run(body: str, tmp_path: Path, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(body=body)],
        env={**os.environ, "MLX_DIAGNOSE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


@pytest.mark.parametrize(
    ("body", "code", "told"),
    [
        ("return 3", 3, ""),
        ("raise RuntimeError('boom')", 70, "A defect of diagnose itself: RuntimeError: boom"),
        ("raise RecursionError", 70, "RecursionError"),
        ("raise AssertionError('boom')", 70, "boom"),
        ("from mlx_diagnose.engine.model import RuleError; raise RuleError('r', 'bad rule')", 4, "bad rule"),
        ("from mlx_diagnose.engine.model import DiagnoseError; raise DiagnoseError('r', 'oh')", 70, "oh"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("raise BrokenPipeError", 0, ""),
        ("raise click.UsageError('no')", 2, "no"),
    ],
)
def test_every_end_has_its_exit_code(body: str, code: int, told: str, tmp_path: Path) -> None:
    process = run(body, tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert told in err
    assert "Traceback" not in err


def test_control_c_ends_with_130(tmp_path: Path) -> None:
    # Whoever started the tests may have told its children to ignore interrupts.
    ordinary = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = run("import time; print('ready', flush=True); time.sleep(60)", tmp_path, preexec_fn=ordinary)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert err == "\ndiagnose: interrupted\n"
