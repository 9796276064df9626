"""Whether a name that one finding is about covers a name that another is about.

Names are dotted: config paths (``decoder.hidden_size``) and tensor names, the latter maybe
collapsed (``layers.{0..31}.q_proj.weight`` stands for 32 tensors).
"""

from __future__ import annotations

import re

# A part is what stands between dots, where the dots inside braces do not count.
_PART = re.compile(r"(?:\{[^{}]*\}|[^.{}]|[{}])+")
_RANGE = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
_NUMBER = re.compile(r"\d{1,18}")


def covers(claimed: str, name: str) -> bool:
    """``name`` is ``claimed`` or lies under it, where collapsed numbers meet if their ranges do.

    >>> covers("decoder", "decoder.hidden_size")
    True
    >>> covers("layers.{0..31}.weight", "layers.3.weight")
    True
    """
    claimed_parts, parts = _PART.findall(claimed), _PART.findall(name)
    return len(claimed_parts) <= len(parts) and all(map(_meets, claimed_parts, parts))


def _meets(one: str, other: str) -> bool:
    if one == other:
        return True
    ours, theirs = _numbers(one), _numbers(other)
    return ours is not None and theirs is not None and ours[0] <= theirs[1] and theirs[0] <= ours[1]


def _numbers(part: str) -> tuple[int, int] | None:
    """First and last number that a part stands for; None where it is a word."""
    match = _RANGE.fullmatch(part)
    if match:
        return int(match[1]), int(match[2])
    return (int(part), int(part)) if _NUMBER.fullmatch(part) else None
