"""What the installed mlx-audio has, read from its files without importing it."""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from typing import Any, Dict, List, Optional, Set

#: Order of preference of ``mlx_audio/utils.py::get_model_category``.
CATEGORIES = ("tts", "stt", "sts", "lid", "vad", "music", "codec")


def package_directory() -> Optional[str]:
    """Where ``import mlx_audio`` would find its package, or None."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        if find is None:
            continue
        try:
            spec = find("mlx_audio", None)
        except Exception:
            continue
        if spec is not None:
            places = list(spec.submodule_search_locations or [])
            return places[0] if places else None
    return None


def version(directory: str) -> Optional[str]:
    """``__version__`` of ``mlx_audio/version.py``."""
    try:
        with open(os.path.join(directory, "version.py"), encoding="utf-8") as file:
            for line in file:
                if line.startswith("__version__"):
                    return line.split("=", 1)[1].strip().strip("\"'")
    except (OSError, UnicodeDecodeError):
        pass
    return None


def remapping(directory: str, category: str) -> Dict[str, str]:
    """``MODEL_REMAPPING`` of a category, as far as it is a literal (also those of old releases)."""
    value = _literal(os.path.join(directory, category, "utils.py"), "MODEL_REMAPPING")
    return {str(key): str(item) for key, item in value.items()} if isinstance(value, dict) else {}


def _literal(path: str, name: str) -> Any:
    """What the module at ``path`` assigns to ``name`` first; None if that is no literal, or cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError, UnicodeDecodeError):
        return None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                return None
    return None


def families(directory: str, category: str) -> List[str]:
    """Model folders (and single-file models) of a category."""
    models = os.path.join(directory, category, "models")
    try:
        names = os.listdir(models)
    except OSError:
        return []
    found = []
    for name in sorted(names):
        if name.startswith(("_", ".")):
            continue
        if os.path.isdir(os.path.join(models, name)):
            found.append(name)
    return found


def name_parts(name: str) -> List[str]:
    """The parts of a directory or repository name that may name a family."""
    parts: List[str] = []
    pieces = [piece for piece in name.lower().split("-") if piece]
    for piece in pieces:
        parts.append(piece)
        parts.extend(part for part in piece.split("_") if part)
    for start in range(len(pieces)):
        for end in range(start + 2, len(pieces) + 1):
            parts.extend(("_".join(pieces[start:end]), "".join(pieces[start:end])))
    return list(dict.fromkeys(parts))


def category_of(directory: str, config: Any, name: str) -> str:
    """The category whose loader a user of this model would call.

    As ``mlx_audio/utils.py::get_model_category``, which takes type and name parts alike: a category
    that the name says, an explicit remapping in the order of :data:`CATEGORIES`, then a family of
    that very name. A type that is declared tells more than a part of a name, though: what says it
    too (of several the one whose part is longest: ``mimo_audio`` before ``mimo``) comes first. Of a
    type that nobody has, ``architectures`` that one category's families say they take tell more. Where
    nothing is said, it is the category of the family whose sources name the most of the config's keys.
    """
    declared = inferred_type(config)
    parts = name_parts(name)
    present = [category for category in CATEGORIES if os.path.isdir(os.path.join(directory, category, "models"))]
    known = {category: _Names(directory, category) for category in present}
    of_type = [] if declared in _BACKBONES else [name for name in present if known[name].fit(declared, config)]
    # A family that says which architectures it takes, and takes this one, is surer than one that says nothing.
    of_type = [name for name in of_type if known[name].fit(declared, config) == 2] or of_type
    said = {
        category: max((len(part) for part in parts if known[category].has(part)), default=0) for category in present
    }
    agreed = [category for category in of_type if said[category]]
    if agreed:
        return max(agreed, key=lambda category: said[category])
    if of_type and not any(known[category].says(parts) for category in present):
        return of_type[0]
    stated = [] if of_type else [category for category in present if known[category].takes(config)]
    if len(stated) == 1:
        return stated[0]
    hints = ([declared] if declared is not None else []) + parts
    for category in present:
        if category in parts and any(known[category].has(hint) for hint in hints):
            return category
    for category in present:
        if any(hint in known[category].remapping for hint in hints):
            return category
    for category in present:
        if any(hint in known[category].families for hint in parts) or known[category].fit(declared, config):
            return category
    return _by_keys(directory, present, config) or _beginning(known, parts) or "tts"


#: Language models that are families too: models of every category name them (``registry.py``).
_BACKBONES = ("llama", "qwen3", "dense")
#: Fewer keys than these tell nothing.
_LEAST_KEYS = 3
_MAX_READ = 2 * 2**20


class _Names:
    """What the loader of a category knows by name."""

    def __init__(self, directory: str, category: str) -> None:
        self._models = os.path.join(directory, category, "models")
        self.families = families(directory, category)
        # A mapping onto a family that is not there maps nothing.
        self.remapping = {
            name: family for name, family in remapping(directory, category).items() if family in self.families
        }

    def has(self, name: Optional[str]) -> bool:
        return name is not None and (name in self.remapping or name in self.families)

    def says(self, parts: List[str]) -> bool:
        """Whether a name with these parts names a family that is more than a language model."""
        return any(self.has(part) and part not in _BACKBONES for part in parts)

    def fit(self, declared: Optional[str], config: Any) -> int:
        """How well a config that declares the type is of this category: 0 not at all, 2 if its family says so.

        A family's package may say which ``architectures`` it takes; others are not its models.
        """
        if declared is None or not self.has(declared):
            return 0
        stated = _stated_architectures(config)
        taken = _hinted_architectures(os.path.join(self._models, self.remapping.get(declared, declared)))
        if not taken or not stated:
            return 1
        return 2 if any(name in taken for name in stated) else 0

    def takes(self, config: Any) -> bool:
        """Whether a family of this category says that it takes the ``architectures`` of the config."""
        stated = _stated_architectures(config)
        return bool(stated) and any(
            name in stated
            for family in self.families
            for name in _hinted_architectures(os.path.join(self._models, family))
        )


#: Keys that tell MiMo Audio from the language model that its config names (``model_type_from_config``).
MIMO_KEYS = (
    "speech_vocab_size",
    "speech_zeroemb_idx",
    "input_local_layers",
    "local_layers",
    "group_size",
    "audio_channels",
    "delay_pattern",
)


def inferred_type(config: Any) -> Optional[str]:
    """The type that a config declares or, declaring none, is of by its keys.

    As ``mlx_audio/registry.py::model_type_from_config`` and
    ``mlx_audio/sts/utils.py::infer_model_type_from_config``.
    """
    if not isinstance(config, dict):
        return None
    said = [config[key] for key in ("model_type", "architecture") if config.get(key)]
    declared = next((value for value in said if isinstance(value, str)), None)
    architectures = config.get("architectures")
    marked = isinstance(architectures, list) and "MiMoAudioModel" in architectures
    if declared in (None, "qwen2") and (marked or set(config) >= set(MIMO_KEYS)):
        return "mimo_audio"
    if said:
        return declared
    model = config.get("model")
    if str(config.get("model_version", "")).startswith("DeepFilterNet"):
        return "deepfilternet"
    if isinstance(model, dict) and {"stt", "speech_generation"} <= set(model):
        return "nemotron_voicechat"
    for family, keys in _TOLD_BY_KEYS:
        if keys <= set(config):
            return family
    return None


_TOLD_BY_KEYS = (
    ("pocket_tts", {"flow_lm", "mimi"}),
    ("sam_audio", {"audio_codec", "text_encoder", "transformer"}),
    ("mossformer2_se", {"win_len", "win_inc", "num_mels", "out_channels_final"}),
)


def _stated_architectures(config: Any) -> List[Any]:
    stated = config.get("architectures") if isinstance(config, dict) else None
    return stated if isinstance(stated, list) else []


def _hinted_architectures(package: str) -> List[str]:
    """``architectures`` of the ``DETECTION_HINTS`` of a family's package, as far as they are literal."""
    value = _literal(os.path.join(package, "__init__.py"), "DETECTION_HINTS")
    found = value.get("architectures", ()) if isinstance(value, dict) else ()
    return [str(name) for name in found]


def _beginning(known: Dict[str, _Names], parts: List[str]) -> Optional[str]:
    """A codec goes by its family's name with something behind it: S3TokenizerV2, SNAC24."""
    if "codec" in known and any(part.startswith(tuple(known["codec"].families)) for part in parts):
        return "codec"
    return None


def _by_keys(directory: str, present: List[str], config: Any) -> Optional[str]:
    """The category with the family whose sources name the most keys of ``config``; tts where it is as good."""
    keys = {key for key in config if isinstance(key, str)} if isinstance(config, dict) else set()
    keys -= {"model_type", "architecture", "architectures", "quantization", "quantization_config"}
    if len(keys) < _LEAST_KEYS or not present:
        return None
    word = re.compile(r"\b(?:%s)\b" % "|".join(map(re.escape, sorted(keys))))
    best: Dict[str, int] = {}
    for category in present:
        models = os.path.join(directory, category, "models")
        best[category] = max(
            (len(_words(os.path.join(models, family), word)) for family in families(directory, category)), default=0
        )
    top = max(present, key=lambda category: best[category])
    if 2 * best[top] <= len(keys):
        return None  # nobody's config
    return top if best[top] > best.get("tts", 0) else "tts"


def _words(package: str, word: Any) -> Set[str]:
    found: Set[str] = set()
    try:
        names = sorted(os.listdir(package))
    except OSError:
        return found
    for name in names:
        if name.endswith(".py"):
            try:
                with open(os.path.join(package, name), encoding="utf-8", errors="replace") as file:
                    found.update(word.findall(file.read(_MAX_READ)))
            except OSError:
                continue
    return found


def has_family(directory: str, category: str, name: str) -> bool:
    """Whether the category has a module of that name: a folder, a file, or a compiled file."""
    path = os.path.join(directory, category, "models", *name.split("."))
    return os.path.isdir(path) or any(os.path.isfile(path + ending) for ending in (".py", ".pyc"))


def read_config(directory: Optional[str]) -> Any:
    """config.json for the choice of a category; None where it cannot be read, which the load will tell."""
    if directory is None:
        return None
    try:
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError):
        return None
