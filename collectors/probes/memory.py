"""Memory of this process and of MLX's allocator, cheap enough to be read at every call."""

from __future__ import annotations

import os
import sys
from typing import Callable, Optional, Tuple

from mlx_diagnose.collectors.probes import stages

#: Resident bytes of the process (their peak where the platform tells no more), MLX's active and peak bytes.
Reading = Tuple[Optional[int], Optional[int], Optional[int]]


#: A reading of the resident bytes is good for so long: asking the system costs as much as making a layer.
RESIDENT_SECONDS = 0.0002


def _resident() -> Callable[[], Optional[int]]:
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        page = os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return stages.peak_memory
    read = os.pread
    return lambda: int(read(descriptor, 64, 0).split()[1]) * page


def _allocator(name: str) -> Callable[[], Optional[int]]:
    """``mx.get_active_memory`` and its like; older releases have them in ``mx.metal``."""
    mx = sys.modules.get("mlx.core")
    for owner in (mx, getattr(mx, "metal", None)):
        function = getattr(owner, name, None)
        if function is not None:
            try:
                function()
            except Exception:
                continue
            return function  # type: ignore[no-any-return]
    return lambda: None


def reader() -> Callable[[float], Reading]:
    """A function that reads all three, given the time of the performance counter; to be made once MLX is imported."""
    resident, active, peak = _resident(), _allocator("get_active_memory"), _allocator("get_peak_memory")
    kept: Optional[int] = None
    until = 0.0

    def read(now: float) -> Reading:
        nonlocal kept, until
        if now >= until:
            kept = resident()
            until = now + RESIDENT_SECONDS
        return kept, active(), peak()

    return read
