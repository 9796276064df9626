from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose import __version__
from mlx_diagnose.engine.cli._commands import load, subcommands

Command = Callable[..., Any]


def test_version(command: Command) -> None:
    assert command("--version").out == f"diagnose {__version__}\n"
    assert command("--version", "--json").out == f"diagnose {__version__}\n"


def test_the_version_imports_nothing_heavy() -> None:
    script = "import sys; from mlx_diagnose.engine.cli import main; main(['--version']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {
        "click",
        "rich",
        "jsonschema",
        "yaml",
        "dataclasses",
        "importlib.metadata",
        "platformdirs",
        "mlx",
        "mlx_audio",
    }
    assert not heavy & set(done.stdout.split())


def test_diagnosing_imports_nothing_of_the_patient_in_our_process() -> None:
    script = "import sys; import mlx_diagnose.engine.cli._diagnose, mlx_diagnose.engine.pipeline; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    foreign = {
        "mlx",
        "mlx.core",
        "mlx_audio",
        "transformers",
        "torch",
        "huggingface_hub",
        "jsonschema",
        "rich",
        "numpy",
    }
    assert not foreign & set(done.stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["why", "-h"], ["rules", "--help"], ["explain", "--help"]])
def test_help(words: list[str], command: Command) -> None:
    ran = command(*words)
    assert ran.code == 0
    assert ran.out.startswith("Usage: diagnose")
    assert not ran.err


def test_help_names_every_command_and_nothing_that_is_not_there(command: Command) -> None:
    told = command("--help").out
    for name in subcommands():
        assert f"\n  {name} " in told
        assert load(name).callback is not None
    listed = told.partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == subcommands()


def test_without_words_the_help_goes_to_standard_error(command: Command) -> None:
    ran = command()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("Usage: diagnose")


@pytest.mark.parametrize(
    ("words", "reference", "told"),
    [
        (["--bogus", "a/b"], "no-such-option", "No such option '--bogus'"),
        (["a/b", "--jsn"], "no-such-option", "'--json'"),
        (["a/b", "c/d"], "usage", "unexpected extra argument"),
        (["--json"], "missing-argument", "MODEL"),
        (["a/b", "--json", "--format", "text"], "usage", "contradict"),
        (["a/b", "--format", "poem"], "bad-value", "poem"),
        (["a/b", "--category", "opera"], "bad-value", "opera"),
        (["a/b", "--timeout", "0"], "bad-value", "0"),
        (["a/b", "--timeout", "nan"], "bad-value", "nan"),
        (["a/b", "--timeout", "1e99"], "bad-value", "1e"),
        (["a/b", "--memory", "-1"], "bad-value", "-1"),
        (["a/b", "--rules", "/no/such/rules"], "bad-value", "/no/such/rules"),
        (["a/b", "-o", "/no/such/directory/x"], "cannot-write", "/no/such/directory"),
        (["a/b", "-o", "."], "cannot-write", "it is a directory"),
        (["why", "last"], "missing-argument", "FINDING"),
        (["why", "last", "f1"], "no-such-run", "No run has been saved"),
        (["why-not", "zzz", "rule"], "no-such-run", "zzz"),
        (["explain", "confg/renamed-key"], "no-such-code", "config/renamed-key"),
        (["rules", "lst"], "usage", "list"),
        (["mend", "a/b"], "usage", "unexpected extra argument"),
        (["mend"], "not-a-model", "org/name"),
        (["bisect"], "missing-argument", "MODEL"),
        (["bisect", ".", "--releases", "newest"], "bad-value", "no range of releases"),
    ],
)
def test_usage_errors_say_what_and_what_next(words: list[str], reference: str, told: str, command: Command) -> None:
    ran = command(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("diagnose: ")
    assert told in " ".join(ran.err.split())
    assert f"  ref   {reference}\n" in ran.err
    assert "  next  " in ran.err
    assert "Traceback" not in ran.err


def test_a_directory_with_the_name_of_a_command_is_diagnosed_as_a_path(command: Command) -> None:
    Path("rules").mkdir()
    assert command("rules", "--help").out.startswith("Usage: diagnose rules")
    assert command("./rules", "--only-static", "--exit-zero").code == 0


def test_invalid_rules_exit_with_4(command: Command, tmp_path: Path) -> None:
    rules = tmp_path / "mine"
    rules.mkdir()
    (rules / "broken.yaml").write_text("id: broken\nid: twice\n")
    Path("model").mkdir()
    for words in (["model", "--only-static"], ["explain", "config/renamed-key"], ["rules", "list"]):
        ran = command(*words, "--rules", str(rules))
        assert ran.code == 4, ran.err
        assert "broken.yaml" in ran.err
        assert "invalid-rules" in ran.err


def test_module_and_script_are_the_same(process: Command) -> None:
    assert process("--version").out == f"diagnose {__version__}\n"
    assert process("nonsense words!").code == 2


def test_a_reader_that_closes_early_is_no_error(tmp_path: Path) -> None:
    environment = {**os.environ, "MLX_DIAGNOSE_HOME": str(tmp_path)}
    for words in ("--help", "explain weights", "--version"):
        script = f"{sys.executable} -m mlx_diagnose {words} | true"
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
        assert done.stderr == ""


def test_an_encoding_that_lacks_our_glyphs(process: Command, report_file: Callable[[str], str]) -> None:
    ran = process("why", report_file("hostile"), "f1", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert ran.code == 0
    assert ran.out.isascii()
    ran = process("n\u00f6nsense w\u00f6rds!", PYTHONIOENCODING="ascii:strict")
    assert ran.code == 2
    assert ran.err.isascii()
