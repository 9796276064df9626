"""Runs a probe in the patient's interpreter and reads its reports; nothing it does can hold us.

The process gets a group of its own, a deadline and a memory ceiling. It reports over a pipe of
its own; what it prints goes to files. A crash, a hang, an out-of-memory kill is an outcome, not
an error, and whatever was reported before stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_diagnose.collectors import probes

if TYPE_CHECKING:
    import psutil

Message = dict[str, Any]

_PACKAGE = "mlx_diagnose.collectors.probes"
#: How often the watch over memory and output runs, in seconds.
_TICK = 0.05
#: A patient that prints more than this is ended: it would fill the disk.
MAX_OUTPUT = 64 * 2**20
#: Bytes of output that are kept for the report.
_KEPT_OUTPUT = 256 * 2**10
#: A report line longer than this is a protocol error.
_MAX_LINE = 512 * 2**20
_FAULT_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in ', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Limits:
    """``seconds`` for the whole process, ``memory`` resident bytes, ``address_space`` bytes (Linux) or None."""

    seconds: float
    memory: int
    address_space: int | None = None


@dataclass(frozen=True, slots=True)
class Ending:
    """How the process went.

    ``outcome`` is ``completed``, ``crashed``, ``timed-out``, ``memory-exceeded``, ``not-python``,
    ``output-exceeded`` or ``protocol-error``; ``file`` and ``line`` the innermost Python line of a
    crash or hang, where faulthandler could tell.
    """

    outcome: str
    detail: str | None = None
    signal: str | None = None
    file: str | None = None
    line: int | None = None
    limit: int | None = None


def probe_sources() -> dict[str, tuple[str, bool]]:
    """The probe's modules: ``{name: (source, is_package)}``."""
    folder = Path(probes.__file__).parent
    parents = ["mlx_diagnose", "mlx_diagnose.collectors", _PACKAGE]
    sources: dict[str, tuple[str, bool]] = dict.fromkeys(parents, ("", True))
    for file in sorted(folder.glob("*.py")):
        if file.stem != "__init__":
            sources[f"{_PACKAGE}.{file.stem}"] = (file.read_text(encoding="utf-8"), False)
    return sources


class PatientProcess:
    """A probe process. Use as a context manager; leaving it leaves no child behind."""

    def __init__(self, executable: str, job: Mapping[str, Any], environment: Mapping[str, str], limits: Limits) -> None:
        self.limits = limits
        self.ending: Ending | None = None
        self.peak_memory = 0
        self._deadline = time.monotonic() + limits.seconds
        self._started = False
        self._buffer = bytearray()
        self._forgotten = (0, 0)
        self._folder = tempfile.TemporaryDirectory(prefix="diagnose-")
        self._stdout, self._stderr = Path(self._folder.name, "stdout"), Path(self._folder.name, "stderr")
        bootstrap = Path(probes.__file__).with_name("bootstrap.py").read_text(encoding="utf-8")
        request_read, request_write = os.pipe()
        report_read, report_write = os.pipe()
        try:
            with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
                self._process = subprocess.Popen(
                    [executable, "-X", "faulthandler", "-c", bootstrap, str(request_read), str(report_write)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=dict(environment),
                    pass_fds=(request_read, report_write),
                    start_new_session=True,
                )
        except OSError as error:
            for descriptor in (request_write, report_read):
                os.close(descriptor)
            self._folder.cleanup()
            self.ending = Ending("not-python", f"{executable} cannot be started: {error.strerror or error}")
            raise
        finally:
            os.close(request_read)
            os.close(report_write)
        self._requests: int | None = request_write
        self._reports: int | None = report_read
        os.set_blocking(report_read, False)
        os.set_blocking(request_write, False)
        self._send({**job, "entry": f"{_PACKAGE}.load", "sources": probe_sources()})

    def __enter__(self) -> PatientProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- talking -----------------------------------------------------------------------------

    def request(self, **request: Any) -> Iterator[Message]:
        """Ask the live session for another load; yields its messages up to ``done``."""
        self._send(request)
        yield from self.messages()

    def messages(self) -> Iterator[Message]:
        """The messages up to the next ``done``; ends early, with :attr:`ending` set, when the process ends."""
        while self.ending is None:
            line = self._next_line()
            if line is None:
                return
            try:
                message = json.loads(line)
            except ValueError:
                self._finish(Ending("protocol-error", "the report channel carried something that is no report"))
                return
            self._started = True
            yield message
            if message.get("m") == "done":
                return

    def _send(self, message: Mapping[str, Any]) -> None:
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data and self._requests is not None:
            _, writable, _ = select.select([], [self._requests], [], _TICK)
            if writable:
                try:
                    data = data[os.write(self._requests, data) :]
                except BrokenPipeError:
                    return
            elif self._process.poll() is not None or time.monotonic() > self._deadline:
                return

    def _next_line(self) -> bytes | None:
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return line
            if len(self._buffer) > _MAX_LINE:
                self._finish(Ending("protocol-error", "a report line is too long"))
                return None
            if not self._read():
                return None

    def _read(self) -> bool:
        """Wait for more of the reports, watching limits. False when there will be no more."""
        assert self._reports is not None
        exited = self._process.poll() is not None
        readable, _, _ = select.select([self._reports], [], [], 0 if exited else _TICK)
        if readable:
            chunk = os.read(self._reports, 1 << 20)
            self._buffer += chunk
            if chunk:
                return True
            exited = True
            # The descriptor is closed: give the exit status a moment to arrive.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
        if exited:
            # A forked child may still hold the pipe; what the process itself wrote is read by now.
            self._finish(self._exited())
            return False
        return self._within_limits()

    def _within_limits(self) -> bool:
        resident = self._resident()
        self.peak_memory = max(self.peak_memory, resident)
        if resident > self.limits.memory:
            self._finish(Ending("memory-exceeded", f"it used {resident} bytes", limit=self.limits.memory))
        elif time.monotonic() > self._deadline:
            file, line = self._where()
            self._finish(
                Ending(
                    "timed-out",
                    f"it did not finish within {self.limits.seconds:g} s",
                    file=file,
                    line=line,
                    limit=int(self.limits.seconds),
                )
            )
        elif max(self._stdout.stat().st_size, self._stderr.stat().st_size) > MAX_OUTPUT:
            self._finish(Ending("output-exceeded", "it printed without end", limit=MAX_OUTPUT))
        return self.ending is None

    def _resident(self) -> int:
        """Resident bytes of the process and its children."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            total = process.memory_info().rss
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    total += child.memory_info().rss
        return total

    # -- ending ------------------------------------------------------------------------------

    def _where(self) -> tuple[str | None, int | None]:
        """Ask faulthandler for the line that hangs: an abort makes it write the stack."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        return self._fault_line()

    def _fault_line(self) -> tuple[str | None, int | None]:
        for match in _FAULT_FRAME.finditer(self.output()[1]):
            if not match["file"].startswith("<diagnose>") and match["file"] != "<string>":
                return match["file"], int(match["line"])
        return None, None

    def _exited(self) -> Ending:
        code = self._process.poll()
        if not self._started:
            words = " ".join(self.output()[1].split())[-300:]
            if "<diagnose>/" in words:
                return Ending("protocol-error", f"the probe itself failed: {words}")
            return Ending("not-python", f"it ended with {code} before it answered{': ' + words if words else ''}")
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            file, line = self._fault_line()
            if name == "SIGKILL":
                return Ending("memory-exceeded", "the system killed it, most likely for want of memory", name)
            return Ending("crashed", f"it was ended by {name}", name, file, line)
        return Ending("crashed", f"it left with exit code {code} in the middle of the load")

    def _finish(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
        self._kill(self._descendants())

    def _descendants(self) -> Sequence[psutil.Process]:
        """Its children now; once it is gone they can no longer be told from others."""
        import psutil

        with contextlib.suppress(psutil.Error):
            return psutil.Process(self._process.pid).children(recursive=True)
        return []

    def _kill(self, strays: Sequence[psutil.Process]) -> None:
        """End the process, its group, and children that left the group."""
        import psutil

        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for stray in strays:
            with contextlib.suppress(psutil.Error):
                stray.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)

    def output(self) -> tuple[str, str]:
        """The last part of what the patient printed: (stdout, stderr)."""
        return _tail(self._stdout, self._forgotten[0]), _tail(self._stderr, self._forgotten[1])

    def forget_output(self) -> None:
        """Let :meth:`output` tell only what is printed from now on."""
        self._forgotten = (self._stdout.stat().st_size, self._stderr.stat().st_size)

    def close(self) -> None:
        """End the session, the process and everything it started, and remove its files."""
        strays = self._descendants()
        if self._requests is not None:
            os.close(self._requests)
            self._requests = None
        if self.ending is None:
            self.ending = Ending("completed")
            # The probe leaves by itself when its requests end; children it forked may not.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        self._kill(strays)
        if self._reports is not None:
            os.close(self._reports)
            self._reports = None
        self._folder.cleanup()


def _tail(file: Path, start: int) -> str:
    try:
        with file.open("rb") as stream:
            stream.seek(max(start, file.stat().st_size - _KEPT_OUTPUT))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return ""
