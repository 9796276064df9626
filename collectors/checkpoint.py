"""The checkpoint in a model directory: its weights files, shards and tensors.

mlx-audio reads what :func:`glob.glob` finds for ``*.safetensors`` at the top of the directory,
and only if there is none, for ``*.npz`` (``mlx_audio/utils.py::load_weights``). Releases before
0.3 read safetensors only; 0.2 also looked into ``LLM`` (``mlx_audio/tts/utils.py``). All other
weights files are invisible to it, which is worth knowing when it finds none.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlx_diagnose.collectors import npz_header, safetensors_header, weight_formats
from mlx_diagnose.collectors.tensors import TensorInfo
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.collectors.weight_index import Shard, absent_tensors, numbered_shards, read_index
from mlx_diagnose.collectors.weights_file import WeightsFile, assert_file, examine
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_HERE = Provenance("checkpoint")

#: What the loader looks for, in order; the first pattern that finds a file is the one used.
FORMATS = ("*.safetensors", "*.npz")

#: Entries of a directory that are listed, directories and files that are looked into, and facts a kind.
MAX_ENTRIES = 20_000
MAX_DIRECTORIES = 64
MAX_FILES = 2_000
MAX_FACTS = 200


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a directory holds. ``table`` has every tensor of the files that the loader reads, as their headers say.

    Where a name stands in several files the last in order of file names counts. Tensors of
    a truncated file are in the table: its header is whole. ``incomplete`` says what was not
    looked at (too many files, no time, a directory that cannot be listed), None if all was.
    """

    directory: Path
    files: tuple[WeightsFile, ...] = ()
    read_by_loader: frozenset[str] = frozenset()
    table: Mapping[str, TensorInfo] = field(default_factory=dict, repr=False)
    incomplete: str | None = None


def formats_of(version: str | None) -> tuple[str, ...]:
    """The patterns of mlx-audio ``version``, as in :data:`FORMATS`; those of today if it is not known."""
    numbers = tuple(int(part) for part in (version or "").split(".")[:2] if part.isdecimal())
    if len(numbers) < 2 or numbers >= (0, 3):
        return FORMATS
    return ("*.safetensors", "LLM/*.safetensors") if numbers == (0, 2) else ("*.safetensors",)


def collect(
    memory: WorkingMemory,
    directory: Path,
    *,
    formats: Sequence[str] = FORMATS,
    seconds: float = 30.0,
    unfetched: Path | None = None,
) -> Checkpoint:
    """Look at the weights files in ``directory`` and assert ``weights_file``, ``weights_summary`` and ``shard`` facts.

    ``formats`` are the loader's patterns (:func:`formats_of`); files that are still unread
    after ``seconds`` are left unexamined. Never raises for what lies in the directory.
    """
    listing = _Listing(directory)
    candidates = listing.weights()
    wanted = _read_by_loader(directory, formats, candidates)
    # What the loader reads comes first, should time or number run out.
    candidates.sort(key=lambda found: (found[0] not in wanted, found[0]))
    deadline = time.monotonic() + seconds
    files = []
    incomplete = listing.incomplete
    for file, format in candidates[:MAX_FILES]:
        if time.monotonic() > deadline:
            incomplete = f"not all files were read within {seconds:g} seconds"
            files.append(WeightsFile(file, format, "not-examined", detail=incomplete))
            continue
        if unfetched is not None and Path(os.path.realpath(directory / file)).is_relative_to(unfetched):
            files.append(WeightsFile(file, format, "not-examined", detail="it was not fetched from the hub"))
            continue
        files.append(_examine(directory, file, format, seen=file in wanted))
    if len(candidates) > MAX_FILES:
        incomplete = f"only {MAX_FILES} of {len(candidates)} weights files were read"
    checkpoint = Checkpoint(directory, tuple(files), frozenset(wanted), _table(files, wanted), incomplete)
    _summary(memory, checkpoint, formats)
    _assert_files(memory, checkpoint, formats)
    _assert_shards(memory, checkpoint, _shards(listing, checkpoint))
    return checkpoint


class _Listing:
    """The files of a directory and of the folders directly below it, without hidden ones (glob skips them)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.incomplete: str | None = None
        self.top: list[str] = []
        self.below: list[str] = []
        folders: list[str] = []
        for entry in self._entries(directory):
            (folders if _is_folder(entry) and not _weights_name(entry.name) else self.top).append(entry.name)
        folders.sort()
        for folder in folders[:MAX_DIRECTORIES]:
            for entry in self._entries(directory / folder):
                if _weights_name(entry.name):
                    self.below.append(f"{folder}/{entry.name}")

    def _entries(self, directory: Path) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(directory) as entries:
                for number, entry in enumerate(entries):
                    if number == MAX_ENTRIES:
                        self.incomplete = f"{clean(directory.name)} has more than {MAX_ENTRIES} entries"
                        return
                    if not entry.name.startswith("."):
                        yield entry
        except (OSError, ValueError) as error:
            if directory == self._directory:
                self.incomplete = f"the directory cannot be listed: {getattr(error, 'strerror', None) or error}"

    def weights(self) -> list[tuple[str, str]]:
        """Weights files with their formats: any at the top, safetensors one level below."""
        found = [(file, weight_formats.format_of(self._directory / file)) for file in sorted(self.top)]
        found += [(file, "safetensors") for file in sorted(self.below)]
        return [(file, format) for file, format in found if format is not None]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _weights_name(name: str) -> bool:
    return name.lower().endswith(".safetensors")


def _read_by_loader(directory: Path, formats: Sequence[str], candidates: Sequence[tuple[str, str]]) -> set[str]:
    """The files that the loader's own search finds."""
    # glob takes brackets in the directory's own name for a pattern; so does the loader.
    if glob.has_magic(str(directory)) and not glob.glob(str(directory)):
        return set()
    for pattern in formats:
        found = {file for file, _ in candidates if _matches(file, pattern)}
        if found:
            return found
    return set()


def _matches(file: str, pattern: str) -> bool:
    return file.count("/") == pattern.count("/") and fnmatch.fnmatchcase(file, pattern)


def _lower_name(file: str, formats: Sequence[str]) -> str | None:
    """``file`` with its ending in lower case, if the loader's search would find it under that name only."""
    stem, dot, ending = file.rpartition(".")
    lower = f"{stem}{dot}{ending.lower()}"
    return lower if lower != file and any(_matches(lower, pattern) for pattern in formats) else None


def _examine(directory: Path, file: str, format: str, *, seen: bool) -> WeightsFile:
    path = directory / file
    if format == "safetensors":
        weights = safetensors_header.read(path, file)
    elif format == "npz":
        weights = npz_header.read(path, file)
    else:
        return examine(path, file, format, None)
    if not seen and weights.sound and weights.detail is None and glob.has_magic(str(directory)):
        return replace(
            weights, detail="the loader does not find it: [, ] , * or ? in the directory's name is a pattern to it"
        )
    return weights


def _table(files: Sequence[WeightsFile], wanted: set[str]) -> dict[str, TensorInfo]:
    table: dict[str, TensorInfo] = {}
    for weights in files:
        if weights.file in wanted:
            placed: dict[TensorInfo, TensorInfo] = {}
            for name, info in weights.tensors.items():
                known = placed.get(info)
                if known is None:
                    known = placed[info] = replace(info, file=weights.file)
                table[name] = known
    return table


def _shards(listing: _Listing, checkpoint: Checkpoint) -> list[Shard]:
    """The shards of all indexes of formats that the loader reads; where there is no index, those the numbers imply."""
    shards = [
        shard
        for file in sorted(listing.top)
        if file.endswith(".index.json")
        for shard in read_index(checkpoint.directory / file)
        if shard.outside or shard.file.lower().endswith((".safetensors", ".npz"))
    ]
    named = {shard.file for shard in shards}
    return shards + [shard for shard in numbered_shards(checkpoint.read_by_loader - named) if shard.file not in named]


def _assert_files(memory: WorkingMemory, checkpoint: Checkpoint, formats: Sequence[str]) -> None:
    there = {weights.file for weights in checkpoint.files}
    # Where facts run out, those that say something is wrong stay.
    for weights in sorted(checkpoint.files, key=lambda weights: weights.state == "ok")[:MAX_FACTS]:
        lower = _lower_name(weights.file, formats)
        assert_file(
            memory,
            weights,
            read_by_loader=weights.file in checkpoint.read_by_loader,
            lower_name=lower if lower not in there else None,
        )


def _assert_shards(memory: WorkingMemory, checkpoint: Checkpoint, shards: Sequence[Shard]) -> None:
    by_name = {weights.file: weights for weights in checkpoint.files}
    held = {name for weights in _sound(checkpoint) for name in weights.tensors}

    def present(shard: Shard) -> bool:
        if shard.outside:
            return False
        known = by_name.get(shard.file)
        return (known or safetensors_header.read(checkpoint.directory / shard.file)).sound

    stated = sorted(((present(shard), shard) for shard in shards[:MAX_FILES]), key=lambda pair: pair[0])
    for there, shard in stated[:MAX_FACTS]:
        memory.add(
            "shard",
            Provenance("checkpoint", file=clean(shard.index_file) or None),
            file=clean(shard.file),
            index_file=clean(shard.index_file),
            present=there,
            tensors=len(shard.tensors),
            outside=shard.outside,
            absent_tensors=absent_tensors(shard, held),
        )


def _sound(checkpoint: Checkpoint) -> list[WeightsFile]:
    """The files that the loader reads and that MLX loads."""
    return [weights for weights in checkpoint.files if weights.file in checkpoint.read_by_loader and weights.sound]


def _summary(memory: WorkingMemory, checkpoint: Checkpoint, formats: Sequence[str]) -> None:
    wanted = checkpoint.read_by_loader
    readable = _sound(checkpoint)
    loadable = {pattern.rpartition(".")[2] for pattern in formats}
    distinct: dict[str, TensorInfo] = {}
    for weights in readable:
        distinct.update(weights.tensors)
    memory.add(
        "weights_summary",
        _HERE,
        readable=len(readable),
        unreadable_format=sum(1 for weights in checkpoint.files if weights.format not in loadable),
        subfolder=sum(1 for weights in checkpoint.files if "/" in weights.file and weights.file not in wanted),
        tensors=len(distinct),
        parameters=sum(info.elements for info in distinct.values()),
        bytes=sum(weights.size for weights in readable),
        quantized=any(
            name.endswith(".scales")
            and (info := distinct.get(f"{name[:-7]}.weight")) is not None
            and info.dtype == "uint32"
            for name in distinct
        ),
        duplicates=sum(len(weights.tensors) for weights in readable) - len(distinct),
        formats=",".join(sorted({weights.format for weights in checkpoint.files})),
    )
