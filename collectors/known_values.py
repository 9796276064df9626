"""config.json against the known-good configuration of its family: values, and where one may be in another unit.

Sizes differ between the variants of a family, so a different value says little by itself. A value
that is off by exactly the factor between two units of what its name says, says more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mlx_diagnose.collectors.config import ConfigDocument, value_at
from mlx_diagnose.collectors.config_edit import leaves
from mlx_diagnose.collectors.text import clean, json_text
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_NAME = "known_values"
_MAX_FACTS = 300
_ABSENT: Any = object()

#: What a name says its value is, and the factors by which its usual units differ.
_UNITS = (
    (
        re.compile(r"(^|_)(sr|sample_?rate|sampling_?rate|samplerate|rate_hz|freq|frequency|hz|f_?min|f_?max)($|_)"),
        (1000.0,),
        "Hz",
        "kHz",
    ),
    (re.compile(r"(^|_)(ms|millis|milliseconds)($|_)"), (1000.0,), "ms", "s"),
    (
        re.compile(r"(^|_)(seconds?|secs?|duration|window_size|window_stride|frame_shift|frame_length)($|_)"),
        (1000.0,),
        "s",
        "ms",
    ),
    (
        re.compile(r"(^|_)(dropout|probability|prob|p_drop|ratio|percent)($|_)"),
        (100.0,),
        "a share of 1",
        "per cent",
    ),
)
#: Names of what cannot be zero, and of what cannot be negative.
_SIZE = re.compile(r"(heads?|size|dim|dims|embd|hidden|channels|width|features|rate)$")
_COUNT = re.compile(r"(layers?|blocks?|depth|codebooks|quantizers|speakers|tokens|steps|length)$")


def collect(
    memory: WorkingMemory, config: ConfigDocument, category: str, family: str, *, only_telling: bool = False
) -> None:
    """Assert value_difference for scalars that the known-good configuration has under the same path.

    ``only_telling``: leave out those that differ as sizes do.
    """
    from mlx_diagnose.knowledge_base.configurations import known_config, known_good

    usual = known_config(family, category)
    if usual is None or config.data is None:
        return
    found = [
        (path, value, known, _unit(path.rpartition(".")[2], value, known))
        for path, value, known in _differing(config.data, usual)
    ]
    if only_telling:
        found = [item for item in found if item[3] is not None or _too_small(*item[:3])]
    entry = known_good(family, category) if found else None
    for path, value, known, unit in found:
        memory.add(
            "value_difference",
            Provenance(_NAME, file=str(config.file), line=config.line_of(path), path=clean(path)),
            path=clean(path),
            name=clean(path.rpartition(".")[2]),
            value=json_text(value),
            known=json_text(known),
            aspect="unit" if unit is not None else "sign" if _too_small(path, value, known) else "value",
            known_unit=unit[0] if unit is not None else None,
            given_unit=unit[1] if unit is not None else None,
            ratio=float(value) / float(known) if _is_number(value) and _is_number(known) and known else None,
            basis=entry.basis if entry is not None else "recalled",
            source=clean(entry.source if entry is not None else "the knowledge base", 300),
            line=config.line_of(path),
        )


def _differing(data: Mapping[str, Any], known: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    count = 0
    for parts, usual in leaves(known):
        path = ".".join(map(str, parts))
        value = value_at(data, path, _ABSENT)
        if value is _ABSENT or isinstance(value, (dict, list)) or value == usual:
            continue
        count += 1
        if count > _MAX_FACTS:
            return
        yield path, value, usual


def _unit(name: str, value: Any, usual: Any) -> tuple[str, str] | None:
    """The unit of the known value and the one that ``value`` would be in, where a unit is what differs."""
    if not (_is_number(value) and _is_number(usual)) or value == 0 or usual == 0:
        return None
    for pattern, factors, unit, other in _UNITS:
        if pattern.search(name.lower()):
            for factor in factors:
                if abs(usual / value / factor - 1) < 1e-6 or abs(value / usual / factor - 1) < 1e-6:
                    # A rate is given in the smaller unit, Hz; a share in the larger.
                    return unit, other
    return None


def _too_small(path: str, value: Any, usual: Any) -> bool:
    """A size of nothing, or less than none of what is counted; there may be no layers of a kind at all."""
    if type(value) is not int or type(usual) is not int or value > 0 or usual <= 0:
        return False
    return bool(_SIZE.search(path) or (value < 0 and _COUNT.search(path)))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
