"""The undo record of a mended copy: what was made of what, and how to get back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from mlx_diagnose.adapters.mend import Mend, inverse_patch
from mlx_diagnose.adapters.model_copy import CopiedFile
from mlx_diagnose.adapters.safetensors_file import read_header

#: Name of the record in the folder for extras.
UNDO = "undo.json"
VERSION = "1"
_HASHED = 64 << 20


def undo_record(
    original: Path, staged: Path, target: Path, mend: Mend, fixes: Sequence[str], files: Sequence[CopiedFile]
) -> str:
    """The record as JSON text. ``staged`` is the finished copy, ``target`` where it will be.

    Files up to 64 MB carry their SHA-256; of larger ones that were written, the SHA-256 of their header.
    """
    config = original / "config.json"
    inverse = inverse_patch(json.loads(config.read_bytes()), mend.config_patch) if mend.config_patch else []
    record = {
        "version": VERSION,
        "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "original": str(original),
        "made": str(target),
        "undo": "The original was not changed. Remove the directory that was made.",
        "fixes": list(fixes),
        "config_patch": list(mend.config_patch),
        "config_patch_inverse": inverse,
        "weight_map": list(mend.weight_map),
        "copies": dict(mend.copies),
        "original_config_sha256": _sha256(config) if config.is_file() else None,
        "files": [{"file": made.file, "how": made.how, "size": made.size, **_hash(staged, made)} for made in files],
    }
    return json.dumps(record, indent=2) + "\n"


def _hash(staged: Path, made: CopiedFile) -> dict[str, str]:
    path = staged / made.file
    if made.size <= _HASHED and made.how in ("copy", "written"):
        return {"sha256": _sha256(path)}
    if made.how == "written":
        start = min((entry.start for entry in read_header(path).tensors.values()), default=8)
        with path.open("rb") as file:
            return {"header_sha256": hashlib.sha256(file.read(start)).hexdigest()}
    return {}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
