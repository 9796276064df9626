"""``diagnose demo``: a broken specimen of a real family, made here, without network.

A full-size Soprano checkpoint, whole but for its config.json, which somebody spoilt in two
places. One failure hides the other: the class refuses the config before it looks at a weight.
The tensor table was taken from mlx-audio's own classes (``tests/engine/test_demo.py`` says
whether it is current); the values are a hole, so 250 MB take the disk space of a header.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.specimen import write_safetensors, write_tokenizer
from mlx_diagnose.knowledge_base.configurations import known_good, read_tensor_table

_FAMILY = "soprano"
#: The directory's name is that of a published repository: Soprano's class reads it.
_NAME = "Soprano-80M-bf16"


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that was broken: what a diagnosis has to find, and what mends it.

    ``subjects`` are dotted config paths; ``mended`` maps them to the values that were right,
    None where the key has to go.
    """

    failure_class: str
    subjects: tuple[str, ...]
    what: str
    mended: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class DemoSpecimen:
    """The broken model: its directory, its story in a few lines for a person, and the truth about it."""

    path: Path
    family: str
    story: str
    breaks: tuple[Break, ...]


def make(directory: Path) -> DemoSpecimen:
    """Write the broken specimen into a new directory under ``directory``.

    Raises FileExistsError when one is there, OSError when it cannot be written, and RuleError
    when the knowledge base is damaged.
    """
    entry = known_good(_FAMILY)
    assert entry is not None
    path = directory / _NAME
    path.mkdir(parents=True)
    config = entry.config()
    layers, width = config["num_hidden_layers"], config["intermediate_size"]
    spoilt = {("n_layers" if key == "num_hidden_layers" else key): value for key, value in config.items()}
    spoilt["intermediate_size"] = width // 2
    (path / "config.json").write_text(json.dumps(spoilt, indent=2) + "\n", encoding="utf-8")
    size = 0
    for file, tensors in read_tensor_table(entry.table).items():
        write_safetensors(path / file, tensors, metadata={"format": "mlx"})
        size += (path / file).stat().st_size
    write_tokenizer(path, ["[STOP]", "[TEXT]", "[START]"])
    return DemoSpecimen(
        path=path,
        family=_FAMILY,
        story=(
            f"{path} is a Soprano checkpoint with the names, shapes and types of the published one\n"
            f"({size / 1e6:.0f} MB, all of it a hole). Its config.json was spoilt in two places:\n"
            f"num_hidden_layers is called n_layers, and intermediate_size says {width // 2}, not {width}.\n"
        ),
        breaks=(
            Break(
                "config/renamed-key",
                ("num_hidden_layers", "n_layers"),
                "num_hidden_layers was renamed to n_layers",
                {"num_hidden_layers": layers, "n_layers": None},
            ),
            Break(
                "config/value-mismatch",
                ("intermediate_size",),
                f"intermediate_size was changed from {width} to {width // 2}",
                {"intermediate_size": width},
            ),
        ),
    )
