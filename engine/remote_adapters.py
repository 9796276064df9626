"""Whether a generated adapter loads a model that is only on the hub, told from the headers of its weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from mlx_diagnose.collectors.interpreter import choose
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.patients import start
from mlx_diagnose.engine.remote import Remote, is_asked


def failure_of(options: Options, located: Located, source: str, progress: Callable[[str], None]) -> str | None:
    """Why the adapter in ``source`` does not load the model, in a line; None if it does.

    It is run in a fresh patient, offline, on a scratch cache in which the weights are their true headers and a
    hole each. No weight is downloaded; what else the load asks for is fetched, as in a diagnosis.
    """
    if not is_asked(options, located):
        return "the hub is not asked (offline), so the headers of its weights are not known"
    interpreter = choose(options.python)
    with ExitStack() as stack:
        remote = Remote(options, located, stack, progress)
        there = remote.look(interpreter.executable)
        if there.cache is None:
            return "the hub does not say what its weights are"
        script = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="diagnose-adapter-")), "adapter.py")
        script.write_text(source, encoding="utf-8")
        process = stack.enter_context(start(options, interpreter, there))
        run = LoadRun().take(process.messages())
        # The model as it is may fail before it asks for all that the mended one needs.
        run = run.successor().take(process.request(probe="script", script=str(script), ghost=True))
        run = remote.load_further(run, process, script)
        if run.loads:
            return None
        if run.value_read is not None:
            return f"values of the weights are read while it loads ({run.value_read['operation']})"
        said = run.chain[0] if run.chain else None
        return f"{said['type']}: {said['message']}"[:300] if said is not None else "the process ended"
