"""Many whole diagnoses in one process, and what they leave behind: ``python -m tests.hub.many MODEL COUNT``.

Prints what is open after the third and after the last, as two lines of JSON. HF_ENDPOINT, HF_HOME and
TMPDIR say which hub is asked and where files go.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from pathlib import Path

import psutil

from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.pipeline import diagnose

#: Diagnoses after which everything that is made once a process is there.
WARM = 3


def left() -> dict[str, int]:
    """Open files, sockets, threads, child processes, temporary files, files of the cache, and memory in bytes."""
    gc.collect()
    process = psutil.Process()
    return {
        "files": process.num_fds(),
        "sockets": len(process.net_connections()),
        "threads": threading.active_count(),
        "children": len(process.children(recursive=True)),
        "temporary": sum(1 for _ in Path(os.environ["TMPDIR"]).iterdir()),
        "cached": sum(1 for _ in Path(os.environ["HF_HOME"]).rglob("*")),
        "memory": process.memory_info().rss,
    }


def main(model: str, count: int) -> None:
    for number in range(1, count + 1):
        report = diagnose(Options(model=model, timeout=120))
        assert report.verdict.startswith("loads"), [found.cause for found in report.findings]
        assert report.network["requests"] > 0
        if number in (WARM, count):
            print(json.dumps(left()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
