"""Families that a model of an unknown or undeclared type could be of, each with the reason to think so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors import config_names
from mlx_diagnose.collectors.config_sections import sections_of
from mlx_diagnose.collectors.name_similarity import is_common
from mlx_diagnose.collectors.probes import installed

_MAX_SIMILAR = 3
_SIMILAR = 0.8
#: How well a config must fit a family to be told of, and how far another must be behind to call it the best.
_FITS = 0.7
_MARGIN = 0.08
_MAX_READ = 2 * 2**20


@dataclass(frozen=True, slots=True)
class Candidate:
    """``reason`` as in the fact kind ``type_candidate``; ``since`` the release, for supported-since."""

    family: str
    category: str
    reason: str
    score: float
    since: str | None = None


def candidates(
    mlx_audio_dir: Path, category: str, declared: str | None, config: Mapping[str, Any], resolved: str | None = None
) -> list[Candidate]:
    """Candidates for ``declared`` (None: the config declares nothing), those of the category asked for first.

    ``resolved`` is the family that a name led to: what knows as many keys and lacks none is no worse than another.
    """
    folder = str(mlx_audio_dir)
    found: list[Candidate] = []
    if declared is not None:
        found += _elsewhere(folder, category, declared)
        found += _later(folder, category, declared)
        found += _alike(folder, category, declared)
    if not any(candidate.score >= 0.9 for candidate in found):
        known = {(candidate.category, candidate.family) for candidate in found}
        fitting = _fitting(mlx_audio_dir, category, config, resolved)
        found += [c for c in fitting if (c.category, c.family) not in known]
    return found


def _elsewhere(folder: str, category: str, declared: str) -> Iterator[Candidate]:
    """The very name in another category."""
    for other in installed.CATEGORIES:
        if other == category:
            continue
        family = installed.remapping(folder, other).get(declared, declared)
        if family in installed.families(folder, other):
            yield Candidate(family, other, "same-name-other-category", 1.0)


def _later(folder: str, category: str, declared: str) -> Iterator[Candidate]:
    """A release that has the type, or maps it onto a family; of the category asked for, else of any other."""
    from mlx_diagnose.knowledge_base.data import supported_since

    version = installed.version(folder)
    for other in (category, *(name for name in installed.CATEGORIES if name != category)):
        since = supported_since(declared, other)
        if since is not None and (version is None or _older(version, since.release)):
            yield Candidate(since.family, other, "supported-since", 1.0, since.release)
            return
        if since is not None and other == category:
            return


def later_by_marks(mlx_audio_dir: Path, category: str, declared: str, marked: str) -> Candidate | None:
    """The family that a config of the type ``declared`` bears the marks of, ``marked``, where only a newer release
    has it."""
    folder = str(mlx_audio_dir)
    if any(marked in installed.families(folder, name) for name in installed.CATEGORIES):
        return None
    found = next(_later(folder, category, marked), None)
    return replace(found, reason="marked-since") if found is not None else None


def _older(version: str, release: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version) < Version(release)
    except InvalidVersion:
        return True


def _alike(folder: str, category: str, declared: str) -> list[Candidate]:
    """Families and mapped types of the category whose names are the declared one in another spelling."""
    from rapidfuzz import fuzz

    remapping = installed.remapping(folder, category)
    names = {name: name for name in installed.families(folder, category)} | remapping
    best: dict[str, Candidate] = {}
    for name, family in names.items():
        alias = name in remapping and name != family
        if _letters(name) == _letters(declared):
            candidate = Candidate(family, category, "known-alias" if alias else "normalised-name", 0.97)
        elif _stem(name) == _stem(declared):
            candidate = Candidate(family, category, "known-alias" if alias else "normalised-name", 0.9)
        elif _other_generation(name, declared):
            continue
        else:
            score = round(fuzz.ratio(_letters(name), _letters(declared)) / 100 * 0.95, 4)
            candidate = Candidate(family, category, "similar-name", score)
        if candidate.score >= _SIMILAR * 0.95 and (family not in best or candidate.score > best[family].score):
            best[family] = candidate
    return sorted(best.values(), key=lambda c: (-c.score, c.family))[:_MAX_SIMILAR]


def _other_generation(name: str, declared: str) -> bool:
    """The same letters with other numbers: qwen2 is no misspelt qwen3."""
    numbers = [re.findall(r"\d+", text) for text in (name, declared)]
    letters = [re.sub(r"[^a-z]", "", text.lower()) for text in (name, declared)]
    return letters[0] == letters[1] and all(numbers) and numbers[0] != numbers[1]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _stem(name: str) -> str:
    """The name without what says a size, a version or a task: ``Dia-1.6B`` and ``kitten_tts`` give dia and kitten."""
    words = re.split(r"[^a-z0-9.]+", name.lower())
    kept = [w for w in words if w and not re.fullmatch(r"v?\d+(\.\d+)*[bmk]?", w) and w not in _TASK_WORDS]
    return "".join(kept) or _letters(name)


_TASK_WORDS = frozenset(("tts", "model", "for", "base", "mlx", "audio", "small", "mini", "large", "medium", "hf"))


def _fitting(mlx_audio_dir: Path, category: str, config: Mapping[str, Any], resolved: str | None) -> list[Candidate]:
    """Families whose classes take the config's keys, by reading their sources."""
    from mlx_diagnose.collectors.sources import describe_source

    keys = [key for key in config if isinstance(key, str) and not config_names.is_housekeeping(key)]
    if len(keys) < 3 or len(_telling(keys)) < 2:
        return []
    scored = []
    for family in _promising(mlx_audio_dir, category, keys):
        score = _fit(describe_source(mlx_audio_dir, category, family), config, keys)
        if score >= _FITS * 0.9:
            scored.append(Candidate(family, category, "config-keys", score))
    scored.sort(key=lambda c: (-c.score, c.family))
    if scored and resolved is not None and scored[0].family != resolved:
        documents = (describe_source(mlx_audio_dir, category, family) for family in (resolved, scored[0].family))
        own, other = (_known(document, config, keys) for document in documents)
        if own is not None and other is not None and own >= other:
            return []
    if len(scored) > 1 and scored[0].score - scored[1].score < _MARGIN:
        # Several families build on the same language model: a config of that alone tells none of them.
        return [Candidate(c.family, c.category, c.reason, scored[0].score) for c in scored[:_MAX_SIMILAR]]
    return scored[:1]


def _telling(keys: Iterable[str]) -> list[str]:
    """Keys that not every language model has: by ``hidden_size`` and its like no family can be told."""
    return [key for key in keys if not is_common(key)]


def _promising(mlx_audio_dir: Path, category: str, keys: list[str], count: int = 5) -> list[str]:
    """The families whose sources name most of ``keys``: reading them all as syntax would take seconds."""
    word = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(keys)))})\b")
    found = []
    for family in installed.families(str(mlx_audio_dir), category):
        met: set[str] = set()
        for file in sorted((mlx_audio_dir / category / "models" / family).glob("*.py")):
            try:
                with open(file, encoding="utf-8", errors="replace") as stream:
                    met.update(word.findall(stream.read(_MAX_READ)))
            except OSError:
                continue
        found.append((-len(met), family))
    return [family for share, family in sorted(found)[:count] if -share * 2 >= len(keys)]


def _known(document: Mapping[str, Any], config: Mapping[str, Any], keys: list[str]) -> int | None:
    """How many of ``keys`` a family takes by name, None where the config lacks something that it needs."""
    sections = sections_of(document, config)
    top = next((section for section in sections if not section.path and section.takers), None)
    if top is None or any(key.required for section in sections for key in section.absent):
        return None
    known = {key.name for key in top.known_keys} | top.children
    return sum(key in known for key in keys)


def _fit(document: Mapping[str, Any], config: Mapping[str, Any], keys: list[str]) -> float:
    """How well a config fits a family: its keys are known there, and the family's keys are given. 0 to 0.9.

    One alone says little: a family that takes nearly anything knows every key, and a config of a
    plain language model gives every key that a family built on one needs.
    """
    sections = sections_of(document, config)
    top = next((section for section in sections if not section.path and section.takers), None)
    if top is None:
        return 0.0
    known = {key.name for key in top.known_keys} | top.children
    own = [name for name in known if not config_names.is_housekeeping(name)]
    share = sum(key in known for key in keys) / len(keys)
    if any(taker.unknown_keys == "accepted" for taker in top.takers):
        share = max(share, 0.9)
    needed = [name for name in own if top.is_required(name)]
    given = sum(name in config for name in own) / max(1, len(own))
    if len(needed) > 2:
        given = max(given, sum(name in config for name in needed) / len(needed))
    missing = sum(key.required for section in sections if section.present or not section.path for key in section.absent)
    if len(_telling(key for key in keys if key in known)) < 2:
        return 0.0
    together = 2 * share * given / (share + given) if share + given else 0.0
    return round(max(0.0, together - 0.1 * missing) * 0.9, 4)
