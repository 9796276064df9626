"""Runs a script that loads a model by itself, and reports how that load ended, as of any other."""

from __future__ import annotations

import runpy
from contextlib import nullcontext
from typing import Any, Dict

from mlx_diagnose.collectors.probes import ghosts
from mlx_diagnose.collectors.probes.channel import Channel


def serve(loader: Any, channel: Channel, request: Dict[str, Any]) -> None:
    """Run the file ``script`` as the main program; with ``ghost`` no value of a weight may be read."""
    guard = ghosts.refuse_reads() if request.get("ghost") else nullcontext()
    loader.observe(lambda: runpy.run_path(request["script"], run_name="__main__"), guard)
