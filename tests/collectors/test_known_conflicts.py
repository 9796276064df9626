"""Pairs of releases that the knowledge base knows not to work together, over small metadata."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlx_diagnose.collectors import known_conflicts
from mlx_diagnose.collectors.surroundings import Surroundings
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance


def _collect(site: Path, imported: list[str], **versions: str) -> list[object]:
    requires = {"mlx_lm": "transformers>=5", "transformers": "huggingface-hub>=0.30"}
    for name, version in versions.items():
        metadata = site / f"{name}-{version}.dist-info"
        metadata.mkdir(parents=True)
        needs = f"Requires-Dist: {requires[name]}\n" if name in requires else ""
        (metadata / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n{needs}")
    memory = WorkingMemory()
    for package in imported:
        memory.add(
            "import_need",
            Provenance("test"),
            package=package,
            module=package,
            top=package,
            present=True,
            when="import",
            guarded=False,
            importer="mlx_audio",
            importer_line=1,
            declared="required",
            install="",
        )
    known_conflicts.collect(memory, Surroundings({"python": "3.11", "system": "Linux", "path": [str(site)]}))
    return [fact["defect"] for fact in memory.of("known_conflict")]


@pytest.mark.parametrize(
    ("imported", "mlx_lm", "transformers", "told"),
    [
        (["mlx-lm"], "0.31.1", "5.13.0", ["transformers-5-13-register"]),
        (["mlx-lm"], "0.31.1", "5.14.0", []),
        (["mlx-lm"], "0.32.0", "5.13.0", []),
        (["transformers"], "0.31.1", "5.13.0", []),  # nothing imports mlx_lm
    ],
)
def test_both_must_be_in_their_ranges_and_imported(
    tmp_path: Path, imported: list[str], mlx_lm: str, transformers: str, told: list[str]
) -> None:
    assert _collect(tmp_path, imported, mlx_lm=mlx_lm, transformers=transformers) == told


def test_what_a_package_requires_it_imports(tmp_path: Path) -> None:
    versions = {"transformers": "4.51.3", "huggingface_hub": "2.4.0"}
    assert _collect(tmp_path / "a", ["transformers"], **versions) == ["transformers-needs-older-hub"]
    assert _collect(tmp_path / "b", ["huggingface-hub"], **versions) == []
