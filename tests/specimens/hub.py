"""A private HF_HOME with repositories that look downloaded."""

from __future__ import annotations

from pathlib import Path

REVISION = "0" * 40


def snapshot(home: Path, repository: str, revision: str = REVISION) -> Path:
    """The snapshot directory of ``repository`` in the cache under ``home``, made if need be."""
    cache = home / "hub" / ("models--" + repository.replace("/", "--"))
    (cache / "refs").mkdir(parents=True, exist_ok=True)
    (cache / "refs" / "main").write_text(revision, encoding="utf-8")
    directory = cache / "snapshots" / revision
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def environment(home: Path) -> dict[str, str]:
    """Variables under which a process sees only the repositories under ``home``."""
    return {
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
