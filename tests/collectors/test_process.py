"""A patient may crash, hang, print, fork or eat memory: what it reported stays, and nothing is left behind."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import Ending, Limits, PatientProcess

GENEROUS = Limits(60, 8 << 30)


def patient(folder: Path, body: str) -> dict[str, str]:
    """An environment in which ``mlx_audio.tts.utils`` is ``body``: a release with hostile code in it."""
    package = folder / "site" / "mlx_audio" / "tts"
    package.mkdir(parents=True)
    for init in (package.parent / "__init__.py", package / "__init__.py"):
        init.write_text("")
    (package.parent / "version.py").write_text('__version__ = "9.9.9"\n')
    (package / "utils.py").write_text(textwrap.dedent(body))
    # As most users run: Python leaves compiled files beside what it imports.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**inherited, "PYTHONPATH": str(folder / "site")}


def run(
    environment: dict[str, str], folder: Path, limits: Limits = GENEROUS, **job: Any
) -> tuple[LoadRun, Ending, PatientProcess]:
    model = folder / "model"
    model.mkdir(exist_ok=True)
    job = {"load": str(model), "name": "model", "directory": str(model), "category": "tts", "offline": True, **job}
    with PatientProcess(sys.executable, job, environment, limits) as process:
        gathered = LoadRun().take(process.messages())
    assert process.ending is not None
    assert no_children()
    return gathered, process.ending, process


def no_children() -> bool:
    for _ in range(50):
        if not [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]:
            return True
        time.sleep(0.02)
    return False


def test_a_load_that_raises_is_reported_with_its_chain(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        def load_model(path, lazy=False, strict=True):
            try:
                {}["hidden_size"]
            except KeyError as error:
                raise ValueError("outer") from error
        """,
    )
    gathered, ending, _ = run(environment, tmp_path)
    assert ending.outcome == "completed"
    assert [link["type"] for link in gathered.chain] == ["ValueError", "KeyError"]
    assert gathered.chain[1]["frames"][-1]["source"] == '{}["hidden_size"]'
    assert gathered.loader is not None
    assert gathered.loader["strict"] is True
    assert not gathered.loads


def test_a_crash_names_the_signal_and_the_line_and_keeps_what_was_reported(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        import ctypes

        def get_model_path(path):
            return path

        def load_config(path):
            ctypes.string_at(0)

        def load_model(path, lazy=False):
            load_config(get_model_path(path))
        """,
    )
    gathered, ending, _ = run(environment, tmp_path)
    assert (ending.outcome, ending.signal) == ("crashed", "SIGSEGV")
    assert ending.file is not None
    assert ending.file.endswith(("utils.py", "ctypes/__init__.py"))
    assert gathered.steps["resolve"]["status"] == "passed"
    assert gathered.failed_stage == "config"


def test_a_hang_ends_at_the_deadline_with_the_line_that_hangs(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        import time

        def load_config(path):
            time.sleep(600)

        def load_model(path):
            load_config(path)
        """,
    )
    gathered, ending, _ = run(environment, tmp_path, Limits(4, 8 << 30))
    assert ending.outcome == "timed-out"
    assert ending.file is not None
    assert ending.file.endswith("utils.py")
    assert ending.line == 5
    assert gathered.failed_stage == "config"


def test_a_hang_that_ignores_signals_ends_too(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        import signal
        import time

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(600)
        """,
    )
    _, ending, _ = run(environment, tmp_path, Limits(4, 8 << 30))
    assert ending.outcome == "timed-out"


def test_a_patient_that_eats_memory_is_ended(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        def load_model(path):
            kept = []
            while True:
                kept.append(bytearray(32 << 20))
        """,
    )
    _, ending, _ = run(environment, tmp_path, Limits(60, 400 << 20))
    assert ending.outcome == "memory-exceeded"
    assert ending.limit == 400 << 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS holds on Linux only")
def test_the_address_space_limit_turns_into_a_memory_error(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        def load_model(path):
            bytearray(20 << 30)
        """,
    )
    gathered, ending, _ = run(environment, tmp_path, address_space=8 << 30)
    assert ending.outcome == "completed"
    assert gathered.chain[0]["type"] == "MemoryError"


def test_what_is_printed_does_not_reach_the_reports(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        import os
        import sys

        print('{"v": 1, "m": "outcome", "loads": true}', flush=True)
        os.write(2, b"to stderr")

        def load_model(path):
            raise ValueError("the end")
        """,
    )
    model = tmp_path / "model"
    model.mkdir()
    job = {"load": str(model), "name": "model", "directory": str(model), "category": "tts", "offline": True}
    with PatientProcess(sys.executable, job, environment, GENEROUS) as process:
        gathered = LoadRun().take(process.messages())
        out, err = process.output()
    assert not gathered.loads
    assert "outcome" in out
    assert "to stderr" in err


def test_a_patient_that_prints_without_end_is_ended(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        def load_model(path):
            line = "x" * (1 << 20)
            while True:
                print(line)
        """,
    )
    _, ending, _ = run(environment, tmp_path)
    assert ending.outcome == "output-exceeded"


def test_leaving_in_the_middle_is_a_crash(tmp_path: Path) -> None:
    environment = patient(tmp_path, "import os\n\ndef load_model(path):\n    os._exit(7)\n")
    _, ending, _ = run(environment, tmp_path)
    assert ending.outcome == "crashed"
    assert "exit code 7" in str(ending.detail)


def test_system_exit_is_an_exception_of_the_load(tmp_path: Path) -> None:
    environment = patient(tmp_path, "def load_model(path):\n    raise SystemExit(3)\n")
    gathered, ending, _ = run(environment, tmp_path)
    assert ending.outcome == "completed"
    assert gathered.chain[0]["type"] == "SystemExit"


def test_a_forked_child_that_lives_on_neither_holds_us_nor_survives(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        import os
        import time

        def load_model(path):
            if os.fork() == 0:
                os.setsid()
                time.sleep(600)
            raise ValueError("parent")
        """,
    )
    started = time.monotonic()
    gathered, ending, _ = run(environment, tmp_path)
    assert ending.outcome == "completed"
    assert gathered.chain[0]["message"] == "parent"
    assert time.monotonic() - started < 30
    assert not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]


def test_a_program_that_is_no_python_is_told(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    job = {"load": str(model), "name": "model", "directory": str(model), "category": "tts", "offline": True}
    with PatientProcess("/bin/ls", job, dict(os.environ), GENEROUS) as process:
        assert list(process.messages()) == []
    assert process.ending is not None
    assert process.ending.outcome == "not-python"


def test_files_in_the_current_and_the_model_directory_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = patient(
        tmp_path, "def load_model(path):\n    import colorsys\n    raise ValueError(colorsys.__file__)\n"
    )
    model = tmp_path / "model"
    model.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (model, elsewhere):
        (folder / "colorsys.py").write_text("raise RuntimeError('executed')\n")
        (folder / "json.py").write_text("raise RuntimeError('executed')\n")
    monkeypatch.chdir(elsewhere)
    gathered, _, _ = run(environment, tmp_path)
    assert gathered.chain[0]["type"] == "ValueError"
    assert str(tmp_path) not in gathered.chain[0]["message"]


def test_code_and_pickles_that_come_with_the_model_are_refused(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        import importlib.util
        import pickle

        def load_model(path):
            try:
                pickle.load(open(path + "/voices.pt", "rb"))
            except ImportError as error:
                pass
            spec = importlib.util.spec_from_file_location("modeling", path + "/modeling.py")
            spec.loader.exec_module(importlib.util.module_from_spec(spec))
        """,
    )
    model = tmp_path / "model"
    model.mkdir()
    (model / "modeling.py").write_text("open(__file__ + '.ran', 'w')\n")
    (model / "voices.pt").write_bytes(b"cos\nsystem\n(S'touch " + str(model / "pwned").encode() + b"'\ntR.")
    gathered, _, _ = run(environment, tmp_path)
    assert gathered.chain[0]["type"] == "RepositoryCodeRefused"
    assert {(reach["what"], reach["outcome"]) for reach in gathered.reaches} == {
        ("unpickle", "blocked"),
        ("file", "blocked"),
    }
    assert sorted(file.name for file in model.iterdir()) == ["modeling.py", "voices.pt"]


def test_connections_are_refused_while_offline_and_told(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        import socket

        def load_model(path):
            socket.socket().connect(("192.0.2.1", 443))
        """,
    )
    gathered, _, _ = run(environment, tmp_path)
    assert gathered.chain[0]["type"] == "OfflineProbe"
    assert [(reach["what"], reach["target"], reach["outcome"]) for reach in gathered.reaches] == [
        ("socket", "192.0.2.1:443", "blocked")
    ]


def test_an_exception_that_the_models_code_catches_is_told(tmp_path: Path) -> None:
    environment = patient(
        tmp_path,
        """
        import types

        class ModelConfig:
            @classmethod
            def from_dict(cls, config):
                return cls()

        class Model:
            def __init__(self, config):
                try:
                    open("/nowhere/voices.json")
                except OSError as error:
                    print("no voices", error)
                try:
                    {}["ordinary"]
                except KeyError:
                    pass

        def get_model_and_args(model_type, model_name):
            return types.SimpleNamespace(Model=Model, ModelConfig=ModelConfig), "tiny"

        def load_model(path):
            family, _ = get_model_and_args("tiny", [])
            return family.Model(family.ModelConfig.from_dict({}))
        """,
    )
    gathered, _, _ = run(environment, tmp_path)
    assert gathered.loads
    assert [(caught["type"], caught["stage"], caught["role"]) for caught in gathered.caught] == [
        ("FileNotFoundError", "construct", "swallowed")
    ]
