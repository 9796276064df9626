"""What the device of the patient's MLX holds, and how much of it MLX uses."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Optional, Tuple


def _function(name: str) -> Any:
    """``mlx.core.<name>``, which older releases have in ``mlx.core.metal``."""
    import mlx.core as mx

    found = getattr(mx, name, None)
    return found if found is not None else getattr(getattr(mx, "metal", None), name, None)


def device() -> Dict[str, Any]:
    """Name and sizes in bytes, as far as MLX tells: memory, working_set (as Metal recommends), buffer (the largest)."""
    try:
        info = dict(_function("device_info")())
    except Exception:
        return {}
    names = (
        ("name", ("device_name", "architecture")),
        ("memory", ("memory_size", "total_memory")),
        ("working_set", ("max_recommended_working_set_size",)),
        ("buffer", ("max_buffer_length",)),
    )
    return {ours: next((info[key] for key in theirs if info.get(key)), None) for ours, theirs in names}


def active() -> Optional[int]:
    """Bytes of arrays that have been computed by now and are alive."""
    try:
        return int(_function("get_active_memory")())
    except Exception:
        return None


def size_of(pairs: Iterable[Tuple[str, Any]]) -> int:
    """Bytes that these arrays take once they are computed; a lazy one knows its size."""
    return sum(int(getattr(array, "nbytes", 0)) for _, array in pairs)
