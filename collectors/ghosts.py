"""Ghost weights: files whose header is real and whose body is a hole, for loads where only shapes are known.

The real loader and MLX's real parser read them; names, types and shapes pass through sanitize,
quantisation and the strict load exactly. What reads a value is told (``probes/ghosts.py``).
"""

from __future__ import annotations

from pathlib import Path

from mlx_diagnose.collectors.checkpoint import Checkpoint
from mlx_diagnose.collectors.overlay import Overlays


def completed(checkpoint: Checkpoint, overlays: Overlays) -> Path | None:
    """A copy of the model as if its truncated files were whole, or None if there is none to complete."""
    truncated = {
        file.file: file.expected_size
        for file in checkpoint.files
        if file.state == "truncated" and file.file in checkpoint.read_by_loader and file.format == "safetensors"
    }
    sizes = {name: size for name, size in truncated.items() if size is not None and "/" not in name}
    return overlays.with_holes(sizes) if sizes else None
