"""Watches what the patient's code reaches for: repositories, sockets, programs, foreign code.

Hub look-ups are seen by wrapping the two download functions of huggingface_hub before
mlx-audio binds them; the rest by an audit hook. Code that comes with a model repository is
never run here: executing its ``*.py`` files and unpickling its files is refused and reported.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
from typing import Any, Callable, Dict, Optional, Tuple

_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".npy", ".npz", ".joblib")
_LOCAL_HOSTS = ("127.", "::1", "localhost")
_OWN = "<diagnose>/"


_real_path = os.path.realpath


class RepositoryCodeRefused(ImportError):
    """Code that came with the model repository was about to run; a diagnosis does not run it."""


class OfflineProbe(OSError):
    """The patient's code opened a connection while the diagnosis runs offline."""


def asking_line() -> Tuple[Optional[str], Optional[int], bool]:
    """The innermost line of mlx-audio's code on the stack (else of anyone's but the standard
    library's), and whether a module is being imported there."""
    frame = sys._getframe(1)
    first: Tuple[Optional[str], Optional[int]] = (None, None)
    best: Optional[Tuple[str, int]] = None
    importing = False
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_OWN, "<frozen")) and file != "<string>":
            if first[0] is None and "huggingface_hub" not in file:
                first = (file, frame.f_lineno)
            if best is None and os.sep + "mlx_audio" + os.sep in file:
                best = (file, frame.f_lineno)
            if best is not None and frame.f_code.co_name == "<module>" and os.sep + "mlx_audio" + os.sep in file:
                importing = True
        frame = frame.f_back  # type: ignore[assignment]
    file_line = best or first
    return file_line[0], file_line[1], importing


class Watch:
    """Reports ``reach`` messages through ``send``; ``stage`` tells the stage now, ``call`` the traced call."""

    def __init__(
        self,
        send: Callable[..., None],
        stage: Callable[[], str],
        directory: Optional[str],
        offline: bool,
        call: Callable[[], Optional[int]],
    ) -> None:
        self._send = send
        self._stage = stage
        self._call = call
        self._directory = os.path.realpath(directory) + os.sep if directory else None
        self._prefixes = (directory.rstrip(os.sep) + os.sep, str(self._directory)) if directory else ()
        self._offline = offline
        self._pickle: Optional[str] = None
        self._busy = False
        self._handlers: Dict[str, Callable[[Any], None]] = {
            "exec": self._exec,
            "import": self._import,
            "open": self._open,
            "pickle.find_class": self._find_class,
            "os.mkdir": self._mkdir,
            "socket.connect": self._connect,
            "subprocess.Popen": self._popen,
            "os.system": self._popen,
            "os.fork": self._fork,
            "os.forkpty": self._fork,
            "sys.settrace": lambda _: self._hooked("the tracer of sys.settrace"),
            "sys.setprofile": lambda _: self._hooked("the profiler of sys.setprofile"),
            "sys.monitoring.register_callback": lambda _: self._hooked("the callbacks of sys.monitoring"),
        }

    def install(self) -> None:
        """Put the audit hook and the hub wrappers in place (once a process: a hook cannot be taken out)."""
        handlers = self._handlers

        def hook(event: str, args: Any) -> None:
            handler = handlers.get(event)
            if handler is not None:
                handler(args)

        sys.addaudithook(hook)
        self._wrap_hub()

    def _reach(
        self, what: str, target: str, outcome: str, error: Optional[BaseException] = None, item: Optional[str] = None
    ) -> None:
        file, line, importing = asking_line()
        self._send(
            "reach",
            stage=self._stage(),
            call=self._call(),
            what=what,
            target=target,
            item=item,
            outcome=outcome,
            file=file,
            line=line,
            at_import=importing,
            error=type(error).__name__ if error else None,
            message=str(error)[:500] if error else None,
        )

    # -- the hub -----------------------------------------------------------------------------

    def _wrap_hub(self) -> None:
        try:
            import huggingface_hub
        except Exception:
            return
        for name in ("snapshot_download", "hf_hub_download"):
            try:
                function = getattr(huggingface_hub, name)
            except Exception:
                continue
            wrapped = self._watched(function)
            setattr(huggingface_hub, name, wrapped)
            for module_name in ("huggingface_hub._snapshot_download", "huggingface_hub.file_download"):
                module = sys.modules.get(module_name)
                if module is not None and vars(module).get(name) is function:
                    setattr(module, name, wrapped)

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            repo = str(args[0] if args else kwargs.get("repo_id"))
            item = kwargs.get("filename", args[1] if len(args) > 1 and isinstance(args[1], str) else None)
            subfolder = kwargs.get("subfolder")
            if item and subfolder:
                item = "%s/%s" % (subfolder, item)
            outer, self._busy = self._busy, True
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                if not outer:
                    self._reach("hub", repo, _hub_outcome(error), error, item)
                raise
            finally:
                self._busy = outer
            if not outer:
                self._reach("hub", repo, "found", None, item)
            return result

        return watched

    # -- audit events ------------------------------------------------------------------------

    def _in_directory(self, path: str) -> bool:
        if self._directory is None:
            return False
        try:
            return _real_path(path).startswith(self._directory)
        except Exception:
            # The patient's code may have replaced what this asks the system with.
            return path.startswith(self._prefixes)

    def _exec(self, args: Any) -> None:
        file = getattr(args[0], "co_filename", "")
        if file.endswith(".py") and os.path.isabs(file) and self._directory and self._in_directory(file):
            self._reach("file", file, "blocked")
            raise RepositoryCodeRefused("%s came with the model; a diagnosis does not run it" % file)

    def _import(self, args: Any) -> None:
        if isinstance(args[0], str) and args[0].split(".")[0] == "transformers_modules":
            self._reach("file", args[0], "blocked")
            raise RepositoryCodeRefused("%s came with a model repository; a diagnosis does not run it" % args[0])

    def _refuse_bytecode(self, path: Any) -> None:
        """The import system would leave compiled files in the user's model directory; it takes a refusal quietly."""
        # By prefix alone: every compiled module of the patient passes here.
        if isinstance(path, str) and path.startswith(self._prefixes) and "__pycache__" in path:
            raise PermissionError(errno.EPERM, "a diagnosis leaves the model directory as it is", path)

    def _mkdir(self, args: Any) -> None:
        self._refuse_bytecode(args[0])

    def _open(self, args: Any) -> None:
        path = args[0]
        self._refuse_bytecode(path)
        if isinstance(path, str) and path.endswith(_PICKLES) and self._in_directory(path):
            self._pickle = path

    def _find_class(self, args: Any) -> None:
        if self._pickle is not None and asking_line()[0] is not None:
            path, self._pickle = self._pickle, None
            self._reach("unpickle", path, "blocked")
            raise RepositoryCodeRefused(
                "%s is a pickle that came with the model; a diagnosis does not unpickle it" % path
            )

    def _connect(self, args: Any) -> None:
        address = args[1]
        if not isinstance(address, tuple) or not address:
            return
        host = str(address[0])
        refuse = self._offline and not host.startswith(_LOCAL_HOSTS)
        self._reach(
            "socket", "%s:%s" % (host, address[1] if len(address) > 1 else ""), "blocked" if refuse else "found"
        )
        if refuse:
            raise OfflineProbe(errno.ENETUNREACH, "the diagnosis runs offline", host)

    def _fork(self, _args: Any) -> None:
        self._reach("fork", "a child of this process", "found")

    def _hooked(self, what: str) -> None:
        """The patient's code has itself called at every step of all code; the probe does so too."""
        # From here: this method, its handler, the audit hook, whoever installs something.
        caller = sys._getframe(3)
        if not caller.f_code.co_filename.startswith(_OWN):
            self._send("hooked", what=what, file=caller.f_code.co_filename, line=caller.f_lineno)

    def _popen(self, args: Any) -> None:
        command = args[0] if not isinstance(args[0], bytes) else args[0].decode("utf-8", "replace")
        self._reach("subprocess", str(command), "found")


def _hub_outcome(error: BaseException) -> str:
    names = {base.__name__ for base in type(error).__mro__}
    if "LocalEntryNotFoundError" in names or "OfflineModeIsEnabled" in names:
        return "not-cached"
    if names & {"RepositoryNotFoundError", "EntryNotFoundError", "RevisionNotFoundError"}:
        return "not-found"
    if names & {"GatedRepoError", "HFValidationError"}:
        return "refused"
    return "failed"
