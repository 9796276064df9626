"""Known-good configurations: config.json of a published model of each family, and where it comes from.

``configurations/index.yaml`` says what its entries mean. Read when first asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mlx_diagnose.engine.model import RuleError
from mlx_diagnose.engine.specimen import Tensor, expand
from mlx_diagnose.knowledge_base import yaml_data

_FOLDER = Path(__file__).parent / "configurations"


@dataclass(frozen=True, slots=True)
class KnownGood:
    """The entry of a family: what its configuration describes, and what a load needs besides.

    ``basis`` is published, class-defaults, recalled or minimal.
    """

    category: str
    family: str
    basis: str
    source: str
    models: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    companions: tuple[str, ...] = ()
    swallowed: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The configuration's file."""
        return _FOLDER / self.category / f"{self.family}.json"

    @property
    def table(self) -> Path:
        """Tensors of a checkpoint of this configuration, for :func:`read_tensor_table`; few families have it."""
        return _FOLDER / self.category / f"{self.family}.tensors.json"

    def config(self) -> dict[str, Any]:
        """A fresh copy of the configuration. Raises RuleError when the file is damaged."""
        try:
            config = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _invalid(self.path, str(error)) from error
        if not isinstance(config, dict):
            raise _invalid(self.path, "it must be an object")
        return config


def known_config(family: str, category: str = "tts") -> dict[str, Any] | None:
    """The known-good configuration of ``family`` alone, without its entry: that takes a file more."""
    entry = KnownGood(category, family, "", "")
    return entry.config() if entry.path.is_file() else None


def known_good(family: str, category: str = "tts") -> KnownGood | None:
    """The known-good configuration of ``family``, or None when there is none."""
    return known_good_configurations().get((category, family))


@cache
def known_good_configurations() -> Mapping[tuple[str, str], KnownGood]:
    """Every known-good configuration by category and family. Raises RuleError when the index is damaged."""
    import yaml  # 20 ms: only for those who ask

    path = _FOLDER / "index.yaml"
    try:
        document = yaml_data.read(path)
        return {
            (category, family): _entry(category, family, entry)
            for category, families in document.items()
            for family, entry in families.items()
        }
    except (OSError, yaml.YAMLError, AttributeError, TypeError) as error:
        raise _invalid(path, str(error)) from error


def _entry(category: str, family: str, given: Mapping[str, Any]) -> KnownGood:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return KnownGood(category=category, family=family, **fields)


def read_tensor_table(path: Path) -> dict[str, dict[str, Tensor]]:
    """Tensors by weights file, from a collapsed table: ``{file: {type: {pattern: shape}}}``.

    Raises RuleError when the file is damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {
            file: expand(
                {pattern: (dtype, tuple(shape)) for dtype, part in types.items() for pattern, shape in part.items()}
            )
            for file, types in document.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _invalid(path, str(error)) from error


def _invalid(path: Path, why: str) -> RuleError:
    return RuleError(
        "invalid-knowledge-base",
        f"{path.name} of the knowledge base cannot be used",
        why=why,
        next_step="Install mlx-diagnose again; its files were changed or are incomplete.",
    )
