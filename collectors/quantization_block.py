"""The quantization section of config.json as mlx-audio's loader reads it.

``quantization`` counts and, if it is absent or null, ``quantization_config``; in it ``bits`` is
required, ``group_size`` is 64 and ``mode`` affine unless given, and an entry under a module's
path overrides all three (``mlx_audio/utils.py::apply_quantization``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mlx_diagnose.collectors.packing import DEFAULTS, Packing
from mlx_diagnose.collectors.text import clean, json_text

KEYS = ("quantization", "quantization_config")
SETTINGS = ("bits", "group_size", "mode")


@dataclass(frozen=True, slots=True)
class Entry:
    """What the block says of a layer: a packing, None for "not quantised" or for values that are no packing.

    ``path`` is the config path that says so; ``settings`` the values given, as text (a number given as
    a string keeps its quotes); ``effective`` the same with defaults, for every setting.
    """

    path: str
    packing: Packing | None
    settings: Mapping[str, str]
    effective: Mapping[str, str]
    plain: bool = False

    def __str__(self) -> str:
        if self.plain:
            return "not quantised"
        if self.packing is not None:
            return str(self.packing)
        return ", ".join(f"{name} {value}" for name, value in self.settings.items()) or "nothing"


@dataclass(frozen=True, slots=True)
class Block:
    """The section: the key it stands under, what it says of all layers, and of single ones by module path."""

    key: str
    top: Entry
    layers: Mapping[str, Entry]

    def of(self, *paths: str) -> Entry:
        """What holds for the layer with any of these module paths (before and after sanitize)."""
        return next((self.layers[path] for path in paths if path in self.layers), self.top)

    @property
    def lacks_bits(self) -> bool:
        return "bits" not in self.top.settings


def read_block(config: Mapping[str, object]) -> Block | None:
    """The section that the loader would use, None where there is none or it is not an object."""
    key = next((key for key in KEYS if config.get(key) is not None), None)
    block = config[key] if key is not None else None
    if key is None or not isinstance(block, dict):
        return None
    top = _entry(key, block, default_group_size=64)
    layers: dict[str, Entry] = {}
    for path, value in block.items():
        if isinstance(value, dict):
            layers[path] = _entry(f"{key}.{path}", value, default_group_size=None)
        elif isinstance(value, bool) and path not in SETTINGS:
            # True: as all the others; False: not at all.
            layers[path] = replace(top, path=f"{key}.{path}", plain=not value, packing=top.packing if value else None)
    return Block(key, top, layers)


def _entry(path: str, block: Mapping[str, object], *, default_group_size: int | None) -> Entry:
    given = {name: block[name] for name in SETTINGS if block.get(name) is not None}
    mode = given.get("mode", "affine")
    known = DEFAULTS.get(mode) if isinstance(mode, str) else None
    default = known or DEFAULTS["affine"]
    bits = given.get("bits", default.bits)
    group_size = given.get("group_size", default_group_size or default.group_size)
    effective = {
        "bits": json_text(bits, 60),
        "group_size": json_text(group_size, 60),
        "mode": clean(mode, 60) if isinstance(mode, str) else json_text(mode, 60),
    }
    settings = {name: effective[name] for name in given}
    if known is None or type(bits) is not int or type(group_size) is not int:
        return Entry(path, None, settings, effective)
    return Entry(path, Packing(known.mode, bits, group_size), settings, effective)
