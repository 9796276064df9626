"""The memory ceiling inside the patient, where the platform can hold one."""

from __future__ import annotations

import sys
from typing import Optional


def apply(address_space: Optional[int]) -> None:
    """Limit the address space to ``address_space`` bytes on Linux.

    macOS ignores RLIMIT_AS; there, and as a second line everywhere, the orchestrator polls the
    resident size. Without a limit (a CUDA driver reserves far more address space than memory)
    polling alone has to do.
    """
    if address_space is None or not sys.platform.startswith("linux"):
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        address_space = min(address_space, hard)
    resource.setrlimit(resource.RLIMIT_AS, (address_space, hard))
