"""Whether an installed file is as its release was published: its hash against the RECORD of the installation."""

from __future__ import annotations

import base64
import csv
import hashlib
from pathlib import Path


def as_released(file: str, top: str) -> bool | None:
    """Whether ``file``, inside the package folder ``top``, has the hash that its installer wrote down.

    None where nobody did: a checkout, an editable installation, a file that is not there.
    """
    path = Path(file)
    root = next((parent.parent for parent in path.parents if parent.name == top), None)
    if root is None:
        return None
    inside = path.relative_to(root).as_posix()
    try:
        for record in root.glob(f"{top}-*.dist-info/RECORD"):
            with record.open(newline="", encoding="utf-8") as lines:
                told = next((row[1] for row in csv.reader(lines) if len(row) > 1 and row[0] == inside), "")
            kind, _, written = told.partition("=")
            if kind == "sha256":
                found = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
                return found == written
    except (OSError, UnicodeDecodeError, csv.Error):
        return None
    return None
