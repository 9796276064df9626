"""Shards: which files an index names, or the numbers in file names imply, and what is not there.

mlx-audio's loader takes every ``*.safetensors`` that it finds and looks at no index
(``mlx_audio/utils.py::load_weights``): a shard that was not downloaded goes unnoticed until
its tensors are missed.
"""

from __future__ import annotations

import json
import re
import stat
from collections import defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

#: Bytes of an index that are read; that of 100,000 tensors takes about ten million.
MAX_INDEX = 1 << 26

#: model-00001-of-00003.safetensors
_NUMBERED = re.compile(
    r"(?P<stem>.+[-_.])(?P<number>[0-9]{1,6})(?P<of>[-_]of[-_])(?P<total>[0-9]{1,6})(?P<suffix>\.[a-z]+)"
)


@dataclass(frozen=True, slots=True)
class Shard:
    """A file that an index names, with the tensors it assigns to it; ``index_file`` is empty for a numbered name."""

    file: str
    index_file: str
    tensors: tuple[str, ...] = ()

    @property
    def outside(self) -> bool:
        """The name points outside the model directory. Such a file is never looked at."""
        # Either kind of path may be meant, wherever it is read.
        windows, posix = PureWindowsPath(self.file), PurePosixPath(self.file)
        rooted = posix.is_absolute() or bool(windows.anchor)
        return rooted or ".." in windows.parts or ".." in posix.parts or not self.file or "\0" in self.file


def read_index(path: Path) -> list[Shard]:
    """The shards of an index file, in order of their names; none where it is no valid index. Never raises."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_INDEX:
            return []
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict):
        return []
    tensors: dict[str, list[str]] = defaultdict(list)
    for name, file in weight_map.items():
        if isinstance(file, str):
            tensors[file].append(name)
    return [Shard(file, path.name, tuple(names)) for file, names in sorted(tensors.items())]


def numbered_shards(files: Iterable[str]) -> list[Shard]:
    """The shards that the names of ``files`` imply: ``model-00002-of-00003`` has two siblings."""
    series: dict[tuple[str, str, str, str], set[int]] = defaultdict(set)
    for file in files:
        found = _NUMBERED.fullmatch(file)
        if found is not None:
            series[found["stem"], found["of"], found["total"], found["suffix"]].add(int(found["number"]))
    shards = []
    for (stem, of, total, suffix), numbers in series.items():
        # Numbers that do not fit (a total below what is there) are no series of shards.
        if max(numbers) <= int(total) <= 10_000 and min(numbers) >= 1:
            width = len(total)
            shards += [Shard(f"{stem}{number:0{width}}{of}{total}{suffix}", "") for number in range(1, int(total) + 1)]
    return sorted(shards, key=lambda shard: shard.file)


def absent_tensors(shard: Shard, held: Container[str]) -> int:
    """How many tensors that the index assigns to ``shard`` no readable file holds."""
    return sum(1 for name in shard.tensors if name not in held)
