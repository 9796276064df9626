"""Modules of a family that print, exit, fork, or change the process: a fact with a reason, never a crash of ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from mlx_diagnose.engine.model import Report
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose
from mlx_diagnose.engine.report.json import to_json
from tests.specimens import make_specimen

_SPEC = find_spec("mlx_audio")
pytestmark = pytest.mark.skipif(_SPEC is None, reason="mlx-audio is not installed")


def _overlay(target: Path, source: Path, parts: tuple[str, ...]) -> Path:
    """``source`` as links, but for the folders on the way to ``parts``; returns the innermost."""
    target.mkdir()
    for entry in source.iterdir():
        if entry.name not in (*parts[:1], "__pycache__"):
            (target / entry.name).symlink_to(entry)
    return _overlay(target / parts[0], source / parts[0], parts[1:]) if parts else target


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Report]:
    """Diagnoses a specimen whose family's module begins with ``code`` and ends with ``after``."""

    def run(code: str, after: str = "", mend: int = 0, **options: object) -> Report:
        assert _SPEC is not None and _SPEC.submodule_search_locations
        source = Path(_SPEC.submodule_search_locations[0])
        family = _overlay(tmp_path / "mlx_audio", source, ("tts", "models", "soprano"))
        original = (family / "__init__.py").read_text()
        (family / "__init__.py").unlink()
        (family / "__init__.py").write_text(f"{code}\n{original}\n{after}\n")
        made = make_specimen("soprano", tmp_path / "specimen")
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        if mend:
            config = json.loads((made.path / "config.json").read_text())
            (made.path / "config.json").write_text(json.dumps({**config, "hidden_size": mend}))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        settings = {"timeout": 60.0, "python": sys.executable, **options}
        report = diagnose(Options(model=str(made.path), **settings))  # type: ignore[arg-type]
        to_json(report)
        assert not [collector for collector in report.collectors if collector.status == "failed"]
        return report

    return run


HARMLESS = {
    "prints": "import sys; print('x' * 100_000); sys.stderr.write('y' * 100_000)",
    "writes where it should not": 'import os; os.write(1, b\'\\xff\\x00{\\"m\\": \\"done\\"}\\n\')',
    "closes standard output": "import os, sys; sys.stdout.close(); sys.stdout = None",
    "ignores signals": (
        "import signal\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGABRT):\n    signal.signal(s, signal.SIG_IGN)"
    ),
    "changes directory": "import os; os.chdir('/')",
    "starts a thread": "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=False).start()",
    "installs a tracer": "import sys; sys.settrace(lambda *a: None)",
    "forks a child that goes on": "import os; os.fork()",
    "forks a child that stays": "import os, time\nif os.fork() == 0:\n    time.sleep(120)",
    "registers an exit that fails": "import atexit; atexit.register(lambda: 1 / 0)",
    "patches what we use": "import os\nos.getpid = lambda: 1\nos.write = None",
    "hangs at exit": "import atexit, time; atexit.register(lambda: time.sleep(600))",
    "starts a thread that never ends": (
        "import threading, time\n"
        "def _on():\n    while True:\n        time.sleep(0.01)\n"
        "threading.Thread(target=_on).start()"
    ),
    "breaks the hooks of exceptions": "import sys\nsys.excepthook = sys.unraisablehook = lambda *a: 1 / 0",
    "breaks the end of the process": "import os\ndef _no(*a): raise RuntimeError('no')\nos._exit = _no",
    "breaks signals": "import signal\ndef _no(*a): raise RuntimeError('no')\nsignal.signal = signal.getsignal = _no",
    "has a __del__ that raises": "class _D:\n    def __del__(self):\n        1 / 0\n_d = _D()\ndel _d",
}

#: Replacements that raise as soon as the load goes on, by what they replace.
RAISING = {
    "the built-in open": "import builtins as owner, sys; owner.open",
    "the function io.open": "import io as owner; owner.open",
    "the function os.stat": "import os as owner; owner.stat",
    "the function time.monotonic": "import time as owner; owner.monotonic",
    "the function importlib.import_module": "import importlib as owner; owner.import_module",
    "the function json.loads": "import json as owner; owner.loads",
    "the function os.getcwd": "import os as owner; owner.getcwd = owner.path.abspath",
    "the built-in getattr": "import builtins as owner; owner.getattr",
}


#: Of several that are alike, one is enough for every run.
LONG = {
    "hangs at exit",
    "starts a thread",
    "forks a child that goes on",
    "breaks signals",
    "registers an exit that fails",
}


@pytest.mark.parametrize(
    "code",
    [pytest.param(code, id=name, marks=pytest.mark.long if name in LONG else ()) for name, code in HARMLESS.items()],
)
def test_what_does_not_keep_the_model_from_loading(examine: Callable[..., Report], code: str) -> None:
    report = examine(code)
    assert report.verdict in ("loads", "loads-with-warnings")
    assert not [finding for finding in report.findings if finding.severity == "error"]


@pytest.mark.parametrize("what", [pytest.param(what, marks=pytest.mark.long) for what in RAISING])
def test_a_function_that_all_code_uses_and_that_raises(examine: Callable[..., Report], what: str) -> None:
    code = f"def _no(*a, **k):\n    raise RuntimeError('out of order')\n{RAISING[what]} = _no\n"
    after = {"io.open": "import io; io.open('x')", "time.monotonic": "import time; time.monotonic()"}
    report = examine(code, after.get(what.removeprefix("the function "), ""))
    (root,) = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert (root.rule, root.failure_class) == ("code-replaced-function-raises", "code/init-error")
    assert root.subjects[0].name.endswith("soprano/__init__.py")
    (changed,) = [fact for fact in report.facts if fact.kind == "process_change" and fact["what"] == what]
    assert (changed["function"], changed["line"], changed["raised"]) == ("_no", 1, True)


@pytest.mark.parametrize("install", ["sys.settrace", "sys.setprofile"])
def test_a_tracer_that_raises(examine: Callable[..., Report], install: str) -> None:
    report = examine(f"import sys\ndef _no(*a):\n    raise RuntimeError('no')\n{install}(_no)")
    (root,) = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    assert root.rule == "code-replaced-function-raises"
    assert install in root.cause and "soprano/__init__.py:4" in root.cause


def test_a_tracer_of_its_own_is_told_where_a_trace_was_asked_for(examine: Callable[..., Report]) -> None:
    if hasattr(sys, "monitoring"):
        pytest.skip("the calls are not watched with sys.settrace here")
    report = examine("import sys; sys.settrace(lambda *a: None)", trace=True)
    assert report.verdict == "loads"
    (trace,) = [collector for collector in report.collectors if collector.name == "trace"]
    assert trace.status == "skipped" and "tracer of its own" in str(trace.reason)


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="of Python 3.12")
def test_tools_of_the_interpreter_that_are_taken(examine: Callable[..., Report]) -> None:
    report = examine("import sys\nsys.monitoring.use_tool_id(2, 'mine')", trace=True)
    assert report.verdict == "loads"
    assert [fact for fact in report.facts if fact.kind == "init_call"]


@pytest.mark.parametrize(
    "after",
    [
        "class _Meta(type):\n    def __getattribute__(cls, name):\n        raise GeneratorExit(name)\n"
        "class ModelConfig(metaclass=_Meta):\n    pass\nclass SpareConfig(metaclass=_Meta):\n    pass\n",
        "del ModelConfig\nclass _E(BaseException):\n    pass\ndef __getattr__(name):\n    raise _E(name)",
    ],
    ids=["metaclass", "lazy attribute"],
)
def test_what_is_no_exception_of_the_usual_kind(examine: Callable[..., Report], after: str) -> None:
    report = examine("", after)
    assert next(fact for fact in report.facts if fact.kind == "probe")["outcome"] == "completed"
    assert any(fact.kind == "exception" and fact["role"] == "raised" for fact in report.facts)
    assert report.verdict in ("fails", "inconclusive")


def test_it_leaves_no_room_for_calls(examine: Callable[..., Report]) -> None:
    report = examine("import sys; sys.setrecursionlimit(60)")
    assert next(fact for fact in report.facts if fact.kind == "probe")["outcome"] == "completed"
    assert any(fact.kind == "process_change" and fact["what"] == "the recursion limit" for fact in report.facts)


def test_an_exception_that_cannot_be_told(examine: Callable[..., Report]) -> None:
    code = "class _E(Exception):\n    def __str__(self):\n        raise KeyboardInterrupt\nraise _E"
    report = examine(code)
    raised = next(fact for fact in report.facts if fact.kind == "exception" and fact["role"] == "raised")
    assert raised["type"] == "_E" and "unprintable" in str(raised["message"])


def test_what_a_module_does_to_the_process_is_a_fact(examine: Callable[..., Report]) -> None:
    code = (
        "import builtins, os, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "_print = print\n"
        "builtins.print = lambda *a, **k: _print(*a, **k)\n"
        "os.fork()\n"
    )
    report = examine(code)
    changed = {fact["what"] for fact in report.facts if fact.kind == "process_change"}
    assert {"the handler of SIGTERM", "the built-in print"} <= changed
    assert "the handler of SIGHUP" not in changed
    (fork,) = [fact for fact in report.facts if fact.kind == "reach" and fact["what"] == "fork"]
    assert str(fork["file"]).endswith("soprano/__init__.py") and fork["at_import"]
    noted = [finding for finding in report.findings if finding.rule == "code-changes-process"]
    assert [finding.severity for finding in noted] == ["info"]
    assert [finding.rule for finding in report.findings] == ["code-changes-process"]


def test_a_forked_child_takes_no_requests_of_its_parent(examine: Callable[..., Report]) -> None:
    report = examine("import os; os.fork()", mend=48)
    root = next(finding for finding in report.findings if finding.root and finding.severity == "error")
    assert (root.failure_class, [s.name for s in root.subjects]) == ("config/value-mismatch", ["hidden_size"])


def test_it_exits(examine: Callable[..., Report]) -> None:
    report = examine("import sys; sys.exit(3)")
    assert report.verdict in ("fails", "inconclusive")
    assert any(fact.kind == "exception" and fact["type"] == "SystemExit" for fact in report.facts)
    assert next(stage.name for stage in report.stages if stage.status == "failed") == "import"


def test_it_ends_the_process(examine: Callable[..., Report]) -> None:
    report = examine("import os; os._exit(5)")
    probe = next(fact for fact in report.facts if fact.kind == "probe")
    assert (probe["outcome"], probe["stage"]) == ("crashed", "import")
    assert "5" in str(probe["detail"])
    assert report.verdict in ("fails", "inconclusive")


def test_it_closes_our_channel(examine: Callable[..., Report]) -> None:
    report = examine("import os; os.closerange(3, 64)")
    assert report.verdict in ("fails", "inconclusive")
    assert next(fact for fact in report.facts if fact.kind == "probe")["outcome"] != "completed"


def test_it_patches_open(examine: Callable[..., Report]) -> None:
    code = "import builtins\ndef _no(*a, **k): raise RuntimeError('open is out of order')\nbuiltins.open = _no"
    report = examine(code, "ModelConfig.from_dict = classmethod(lambda cls, d: open('x'))")
    raised = next(fact for fact in report.facts if fact.kind == "exception" and fact["role"] == "raised")
    assert (raised["type"], raised["message"]) == ("RuntimeError", "open is out of order")


def test_a_lazy_module_that_raises(examine: Callable[..., Report]) -> None:
    after = "del ModelConfig\ndef __getattr__(name):\n    raise RuntimeError('no ' + name)"
    report = examine("", after)
    raised = next(fact for fact in report.facts if fact.kind == "exception" and fact["role"] == "raised")
    assert raised["type"] == "RuntimeError"
    assert report.verdict in ("fails", "inconclusive")


def test_a_metaclass_that_raises(examine: Callable[..., Report]) -> None:
    after = (
        "class _Meta(type):\n"
        "    def __getattribute__(cls, name):\n"
        "        raise RuntimeError('metaclass: ' + name)\n"
        "class ModelConfig(metaclass=_Meta):\n    pass\n"
        "class SpareConfig(metaclass=_Meta):\n    pass\n"
    )
    report = examine("", after)
    raised = next(fact for fact in report.facts if fact.kind == "exception" and fact["role"] == "raised")
    assert raised["type"] == "RuntimeError"
    assert report.verdict in ("fails", "inconclusive")


@pytest.mark.parametrize(
    "code", ["def broken(:", "\x00", "raise KeyboardInterrupt", "class E(BaseException): pass\nraise E"]
)
def test_a_module_that_cannot_be_imported(examine: Callable[..., Report], code: str) -> None:
    report = examine(code)
    assert report.verdict in ("fails", "inconclusive")
    assert any(fact.kind == "exception" for fact in report.facts)
