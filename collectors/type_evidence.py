"""Families that a checkpoint may be of, by the names of its tensors: the sources of the right one say them.

A part of a tensor's name is the name of an attribute in the family's source. What few families
have (``dwconv``, ``style_encoder``) tells more than what all have (``weight``, ``layers``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import log
from pathlib import Path

from mlx_diagnose.collectors.probes import installed

#: Families that are named, and the part of the checkpoint's words (by what they tell) that one must say.
MAX_FAMILIES = 5
_SHARE = 0.5
_MAX_READ = 2 * 2**20
_MAX_WORDS = 400
_IMPORT = re.compile(r"^from[ ]+(?:mlx_audio\.|(\.+))([\w.]*)[ ]+import", re.MULTILINE)
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def families(mlx_audio_dir: Path, category: str, names: Iterable[str]) -> list[str]:
    """Families of ``category`` whose sources name the parts of the tensors ``names``, the likeliest first."""
    words = {part for name in names for part in name.split(".") if _WORD.fullmatch(part)}
    if len(words) > _MAX_WORDS or len(words) < 3:
        return []
    # What the language models say that families share tells none of them.
    words -= _said(mlx_audio_dir / "lm", words)
    models = mlx_audio_dir / category / "models"
    said = {
        name: _said(models / name, words, mlx_audio_dir) for name in installed.families(str(mlx_audio_dir), category)
    }
    telling = {word: log((1 + len(said)) / (1 + sum(word in met for met in said.values()))) for word in words}
    whole = sum(telling.values())
    if whole <= 0:
        return []
    shares = {family: sum(telling[word] for word in met) / whole for family, met in said.items()}
    likely = sorted((family for family in shares if shares[family] >= _SHARE), key=lambda name: (-shares[name], name))
    return likely[:MAX_FAMILIES]


def _said(folder: Path, words: set[str], package: Path | None = None) -> set[str]:
    """Those of ``words`` that stand in the sources under ``folder``, and in what these import of ``package``."""
    met: set[str] = set()
    for file in sorted(folder.rglob("*.py")):
        text = _text(file)
        met.update(words.intersection(_WORD.findall(text)))
        if package is not None:
            for dots, name in _IMPORT.findall(text):
                start = file.parents[len(dots) - 1] if dots else package
                parts = [part for part in name.split(".") if part]
                imported = start.joinpath(*parts)
                if package in imported.parents and package / "lm" not in (imported, *imported.parents):
                    files = sorted(imported.glob("*.py")) if imported.is_dir() else [imported.with_suffix(".py")]
                    met.update(word for source in files for word in words.intersection(_WORD.findall(_text(source))))
    return met


def _text(file: Path) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            return stream.read(_MAX_READ)
    except OSError:
        return ""
