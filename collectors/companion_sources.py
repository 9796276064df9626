"""Where a file that the model directory lacks lies on this machine, and what speaks for it that it belongs there.

Looked at are other snapshots of the same repository, the repositories that the card (``base_model``) or
the config (``_name_or_path``) names, folders inside the model directory, and directories beside it.
Files of a tokenizer are taken from one place together, never mixed. Nothing is fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors.target import cache_directory, is_repo_id
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_HERE = Provenance("companion_sources")
#: Subject of the files that make up a tokenizer or processor.
TOKENIZER = "tokenizer"
#: Subject of the weights files that lie in the directory itself, under names that the loader does not find.
CHECKPOINT = "checkpoint"
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"),
    *("vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    *("preprocessor_config.json", "processor_config.json"),
)
#: One of these makes a tokenizer.
_WORDS = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model")
_MOST_FOLDERS, _MOST_BYTES = 200, 64 << 20
_BASE_MODEL = re.compile(r"^base_model:[ \t]*(?:\n[ \t]*-[ \t]*)?[\"']?([\w.-]+/[\w.-]+)", re.MULTILINE)
#: As transformers says it.
_NO_TOKENIZER = re.compile(
    r"(Can't load (tokenizer|feature extractor|processor|image processor) for|Unrecognized processing class in"
    r"|Couldn't instantiate the backend tokenizer)"
)
#: What a place is to the model, the nearest first, and how that is told.
RELATIONS = {
    "same-repository": "another snapshot of the same repository",
    "base-model": "the base model that the card or the config names",
    "inside": "a folder of the model itself",
    "beside": "a directory beside the model",
}


@dataclass(frozen=True, slots=True)
class _Place:
    folder: Path
    relation: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the load lacked: its ``subject`` (a file's name, or :data:`TOKENIZER`), the stage, and the path in the
    model directory, None for a tokenizer."""

    subject: str
    stage: str
    file: str | None


def wanted_of(memory: WorkingMemory, loaded: Path) -> list[Wanted]:
    """What a load of the directory ``loaded`` did not find there and ended for (file_wanted and exception facts)."""
    found = [
        Wanted(str(fact["name"]), str(fact["stage"]), os.path.relpath(str(fact["path"]), loaded))
        for fact in memory.of("file_wanted", in_model=True, raised=True)
        if fact["name"] != "config.json"
    ]
    if not found:
        raised = [fact for fact in memory.of("exception", role="raised") if _NO_TOKENIZER.match(str(fact["message"]))]
        found = [Wanted(TOKENIZER, str(fact["stage"]), None) for fact in raised[:1]]
    return [want for want in found if want.file is None or not want.file.startswith("..")]


def collect(memory: WorkingMemory, directory: Path, config: Mapping[str, Any], wanted: Sequence[Wanted]) -> None:
    """Assert companion_source for what is ``wanted`` in the model's ``directory`` and lies elsewhere."""
    places = list(_places(directory, config))
    for want in wanted:
        file = want.file
        offers = [(place, _tokenizer(place, directory) if file is None else _file(place, file)) for place in places]
        _found(memory, config, want, offers)


def collect_renamed(memory: WorkingMemory, directory: Path) -> bool:
    """Assert companion_source for the weights files whose names end in another case; False where there are none."""
    names = {str(fact["lower_name"]): str(fact["file"]) for fact in memory.of("weights_file") if fact["lower_name"]}
    if names:
        memory.add(
            "companion_source",
            _HERE,
            subject=CHECKPOINT,
            stage="weights",
            files=", ".join(sorted(names)),
            folder=str(directory),
            relation="itself",
            told="the model directory itself",
            copies=json.dumps({name: str(directory / file) for name, file in sorted(names.items())}),
        )
    return bool(names)


def _found(
    memory: WorkingMemory,
    config: Mapping[str, Any],
    want: Wanted,
    offers: Sequence[tuple[_Place, Mapping[str, Path]]],
) -> None:
    """The nearest place that has it; what is there in other words counts against it."""
    fits = [(place, files, _vocabulary_fits(files, config)) for place, files in offers if files]
    fits = [offer for offer in fits if offer[2] is not False]
    if not fits:
        return
    rank = list(RELATIONS).index
    first = min(rank(place.relation) for place, _, _ in fits)
    near = [offer for offer in fits if rank(offer[0].relation) == first]
    contents = {_digest(files) for _, files, _ in near}
    place, files, vocabulary = near[0]
    doubt = None
    if len(contents) > 1:
        doubt = f"ambiguous: {len(near)} places have it, with {len(contents)} different contents"
    elif place.relation == "beside" and vocabulary is not True:
        doubt = "it lies beside the model, and nothing says that it belongs to it"
    memory.add(
        "companion_source",
        _HERE,
        subject=want.subject,
        stage=want.stage,
        files=", ".join(sorted(map(clean, files))),
        folder=str(place.folder),
        relation=place.relation,
        told=RELATIONS[place.relation],
        same_vocabulary=vocabulary,
        doubt=doubt,
        copies=json.dumps({name: str(path) for name, path in sorted(files.items())}),
    )


def _places(directory: Path, config: Mapping[str, Any]) -> Iterator[_Place]:
    if directory.parent.name == "snapshots":
        for snapshot in _folders(directory.parent):
            if snapshot != directory:
                yield _Place(snapshot, "same-repository")
    for repo in dict.fromkeys(_named(directory, config)):
        for snapshot in _folders(cache_directory() / ("models--" + repo.replace("/", "--")) / "snapshots"):
            yield _Place(snapshot, "base-model")
    for folder in _folders(directory):
        yield _Place(folder, "inside")
        for deeper in _folders(folder):
            yield _Place(deeper, "inside")
    if directory.parent.name != "snapshots":
        for folder in _folders(directory.parent):
            if folder != directory:
                yield _Place(folder, "beside")


def _named(directory: Path, config: Mapping[str, Any]) -> Iterator[str]:
    """Repositories that the card or the config gives as what the model was made of."""
    with suppress(OSError):
        head = (directory / "README.md").read_bytes()[:_MOST_BYTES].decode("utf-8", "replace")
        if head.startswith("---"):
            yield from _BASE_MODEL.findall(head[3:].partition("\n---")[0])
    name = config.get("_name_or_path")
    if isinstance(name, str) and "/" in name and is_repo_id(name):
        yield name


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(each for each in folder.iterdir() if not each.name.startswith(".") and each.is_dir())[
            :_MOST_FOLDERS
        ]
    return []


def _file(place: _Place, file: str) -> Mapping[str, Path]:
    """``file``, a path in the model directory, at ``place``: at the same path, or by its name."""
    for candidate in dict.fromkeys((place.folder / file, place.folder / Path(file).name)):
        if _is_whole(candidate):
            return {file: candidate}
    return {}


def _tokenizer(place: _Place, directory: Path) -> Mapping[str, Path]:
    """Files of a tokenizer at ``place`` that ``directory`` lacks, if there is one."""
    there = {name: place.folder / name for name in _TOKENIZER_FILES if _is_whole(place.folder / name)}
    if not any(name in there for name in _WORDS):
        return {}
    return {name: path for name, path in there.items() if not (directory / name).exists()}


def _is_whole(path: Path) -> bool:
    with suppress(OSError):
        return path.is_file() and path.stat().st_size > 0
    return False


def _digest(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        size = path.stat().st_size
        digest.update(f"{name}\0{size}\0".encode())
        with suppress(OSError), path.open("rb") as file:
            digest.update(file.read(_MOST_BYTES))
    return digest.hexdigest()


def _vocabulary_fits(files: Mapping[str, Path], config: Mapping[str, Any]) -> bool | None:
    """Whether the words of tokenizer.json are as many as ``vocab_size`` says; False where they are more."""
    path, size = files.get("tokenizer.json"), _vocab_size(config)
    if path is None or size is None:
        return None
    try:
        document = json.loads(path.read_bytes()[: 4 * _MOST_BYTES])
        words = document["model"]["vocab"]
        ids = list(words.values()) if isinstance(words, dict) else list(range(len(words)))
        ids += [token["id"] for token in document.get("added_tokens", ())]
        count = max(ids) + 1
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    return False if count > size else True if count == size else None


def _vocab_size(config: Mapping[str, Any]) -> int | None:
    for section in (config, *(value for value in config.values() if isinstance(value, dict))):
        size = section.get("vocab_size", section.get("text_vocab_size"))
        if type(size) is int:
            return size
    return None
