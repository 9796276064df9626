"""The second load of a model that failed: the same, with its calls recorded.

A model that loads is not traced unless that was asked for, so it pays nothing for it.
"""

from __future__ import annotations

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import PatientProcess

#: Stages in which the model's own code runs.
TRACED_STAGES = ("construct", "sanitize", "quantize", "load", "post_load")


def retrace(process: PatientProcess, run: LoadRun, load: str, *, ghost: bool) -> None:
    """Load ``load`` once more in the live session, and give ``run`` the trace if the load went the same way."""
    if run.outcome is None or run.loads or run.failed_stage not in TRACED_STAGES:
        return
    again = run.successor().take(process.request(load=load, ghost=ghost, traced=True))
    if again.trace is None or again.failed_stage != run.failed_stage:
        return
    if [link["type"] for link in again.chain] == [link["type"] for link in run.chain]:
        run.trace = again.trace
