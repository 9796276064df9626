from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from mlx_diagnose.engine.cli._output import StatusLine, check_writable, write
from mlx_diagnose.engine.model import UsageError


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("old")
    path.chmod(0o640)
    write("new\n", str(path))
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["report.txt"]


def test_a_new_file_has_the_mode_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    write("new", str(tmp_path / "report.txt"))
    assert (tmp_path / "report.txt").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write("new", str(tmp_path / "link"))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_to(capfd: pytest.CaptureFixture[str]) -> None:
    check_writable("/dev/null")
    write("nothing", "/dev/null")
    check_writable("-")
    write("text\n", "-")
    assert capfd.readouterr().out == "text\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_what_may_not_be_written_is_told_before_the_diagnosis(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError) as caught:
        check_writable(str(tmp_path / "report.txt"))
    assert caught.value.reference == "cannot-write"


def test_a_file_that_cannot_be_written_after_all_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        write("text", str(tmp_path / "gone" / "report.txt"))
    assert caught.value.reference == "cannot-write"


def test_the_status_line_is_one_line_and_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt), StatusLine(stream) as progress:
        progress("importing\x1b[2J mlx_audio\n" + "x" * 100)
        raise KeyboardInterrupt
    text = stream.getvalue()
    assert text.startswith("\r\x1b[2Kimporting\\x1b[2J mlx_audio xxx")
    assert text.endswith("…\r\x1b[2K")
    assert "\n" not in text
    assert len(text) < 60


def test_no_status_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = io.StringIO()
    with StatusLine(quiet) as progress:
        progress("working")
    assert quiet.getvalue() == ""
    monkeypatch.setenv("TERM", "dumb")
    dumb = Terminal()
    with StatusLine(dumb) as progress:
        progress("working")
    assert dumb.getvalue() == ""
