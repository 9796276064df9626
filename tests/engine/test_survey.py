"""``diagnose env`` over the real installation, and over small and broken ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mlx_diagnose.engine.cli import main
from mlx_diagnose.engine.model import Survey, UsageError
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.report import survey as rendered
from mlx_diagnose.engine.report.view import View, cells
from mlx_diagnose.engine.survey import survey

_INIT = "class Model: ...\n"


@pytest.fixture(scope="module")
def real() -> Survey:
    return survey(Options(model="", python=sys.executable, category="tts"))


def _environment(root: Path, **packages: str) -> str:
    """An interpreter that is none, with packages beside it: enough for a look at files."""
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    (root / "bin" / "python").chmod(0o755)
    (root / "pyvenv.cfg").write_text("home = /nosuch/bin\nversion = 3.11.7\n")
    site = root / "lib" / "python3.11" / "site-packages"
    for name, text in packages.items():
        file = site / Path(*name.split("__")).with_suffix(".py")
        if name.endswith("init"):
            file = file.with_name("__init__.py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    site.mkdir(parents=True, exist_ok=True)
    return str(root / "bin" / "python")


def test_the_real_environment(real: Survey) -> None:
    assert not [found for found in real.findings if found.severity == "error"]
    states = {family.family: family.state for family in real.families}
    assert states["llama"] == "ok" and len(states) > 40
    backend, loader = real.one("backend"), real.one("loader")
    assert backend is not None and backend["importable"] is True and loader is None
    assert {fact["name"] for fact in real.of("native_library")} >= {"ffmpeg", "portaudio"}
    assert real.one("storage") is not None and real.patient.packages["mlx-audio"]
    # What is missing is told of the families that miss it, never as an error of all.
    for gap in real.of("package_gap"):
        broken = gap["when"] == "import"
        assert all(states[name.split("/")[1]] != "ok" for name in str(gap["families"]).split(", "))
        assert any(
            found.severity == ("warning" if broken else "info") and str(gap["package"]) in found.cause
            for found in real.findings
        )


def test_it_fits_a_terminal_and_is_json(real: Survey) -> None:
    text = rendered.render_text(real, View(width=80, verbose=True))
    # A command stays in one piece, so that it can be copied, whatever the length of the interpreter's path.
    commands = {fix.command for finding in real.findings for fix in finding.fixes}
    wide = [line.strip() for line in text.splitlines() if cells(line) > 80]
    assert all(line in commands or " " not in line for line in wide), wide
    assert "families of mlx-audio" in " ".join(text.split())
    document = json.loads(rendered.render_json(real))
    assert {family["state"] for family in document["families"]} <= {"ok", "limited", "not-importable"}
    assert document["patient"]["executable"] == sys.executable


def test_families_that_miss_a_package_or_a_name_are_warnings(tmp_path: Path) -> None:
    python = _environment(
        tmp_path,
        mlx_audio__init="",
        mlx_audio__tts__init="",
        mlx_audio__tts__utils="",
        mlx_audio__tts__models__one__init="import absent_package\n",
        mlx_audio__tts__models__two__init="from present import gone\n",
        mlx_audio__tts__models__three__init="class Model:\n    def generate(self):\n        import absent_package\n",
        mlx_audio__tts__models__four__init=_INIT,
        present__init="kept = 1\n",
        mlx__init="",
        mlx__core="",
    )
    found = survey(Options(model="", python=python, only_static=True))
    states = {family.family: (family.state, family.missing) for family in found.families}
    assert states == {
        "one": ("not-importable", ("absent-package",)),
        "two": ("not-importable", ("present.gone",)),
        "three": ("limited", ("absent-package",)),
        "four": ("ok", ()),
    }
    rules = {finding.rule: finding for finding in found.findings}
    assert "tts/one" in rules["dependency-families-not-importable"].cause
    assert "tts/two" in rules["dependency-families-lack-name"].cause
    assert "tts/three" in rules["dependency-families-limited"].cause


def test_what_the_loader_itself_misses_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = _environment(
        tmp_path, mlx_audio__init="", mlx_audio__tts__init="", mlx_audio__tts__utils="import absent_package\n",
        mlx_audio__tts__models__one__init=_INIT,
    )  # fmt: skip
    assert main(["env", "--python", python, "--only-static", "--color", "never"]) == 1
    shown = " ".join(capsys.readouterr().out.split())  # where it is folded depends on the length of the path
    assert "cannot load models" in shown and "absent_package is not installed" in shown
    assert main(["env", "--python", python, "--only-static", "--exit-zero", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"]


def test_what_the_loader_of_one_category_misses_is_no_error_of_the_others(tmp_path: Path) -> None:
    python = _environment(
        tmp_path,
        mlx_audio__init="",
        mlx_audio__sts__init="",
        mlx_audio__sts__utils="import absent_package\n",
        mlx_audio__sts__models__one__init=_INIT,
        mlx_audio__tts__init="",
        mlx_audio__tts__utils="",
        mlx_audio__tts__models__two__init=_INIT,
        mlx__init="",
        mlx__core="",
    )
    rules = {f.rule: f for f in survey(Options(model="", python=python, only_static=True)).findings}
    assert "dependency-import-undeclared-absent" not in rules and "dependency-import-absent" not in rules
    assert "sts/one" in rules["dependency-families-not-importable"].cause
    alone = survey(Options(model="", python=python, only_static=True, category="sts"))
    assert any(found.severity == "error" and "absent_package" in found.cause for found in alone.findings)


def test_without_mlx_audio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env", "--python", _environment(tmp_path), "--only-static", "--color", "never"]) == 1
    assert "mlx-audio is not installed" in capsys.readouterr().out


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        survey(Options(model="", python=_environment(tmp_path)))
