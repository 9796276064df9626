"""A scratch hub cache in which repositories look downloaded, without a weight in it.

The patient loads by the repository's id from it, offline, as it would from the user's cache:
what that holds is linked. Of a repository that was looked at on the hub, small files are links to
where the client put them, weights are their true header and a hole of the true size, and what
was not fetched is a hole too, so that it is there for who asks; reading one is noticed
(``collectors/probes/unfetched.py``), and then it is fetched.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from mlx_diagnose.collectors.hub_headers import Header
from mlx_diagnose.collectors.hub_names import is_safe

#: Time of the last access, in seconds of the epoch, of what nobody has read.
_NEVER = 1


class ScratchCache:
    """The cache ``root``/hub; holes of files of which nothing is known lie in ``root``/unfetched."""

    def __init__(self, root: Path, real: Path) -> None:
        # mlx-audio finds a repository's name in the path behind a folder of this name.
        self.path = root / "hub"
        self.path.mkdir()
        self.unfetched = root / "unfetched"
        self.unfetched.mkdir()
        with suppress(OSError):
            for entry in real.iterdir():
                if "--" in entry.name:
                    os.symlink(os.path.abspath(entry), self.path / entry.name)

    def read_natively(self) -> list[str]:
        """Holes, as paths below :attr:`unfetched`, that native code has read.

        Python's own reads are stopped before they happen. Others show in the time of the last
        access, where the file system keeps it (unless mounted with noatime).
        """
        found = []
        for folder, _, files in os.walk(self.unfetched):
            for file in files:
                path = Path(folder, file)
                # What a .bin holds we look up ourselves (weight_formats).
                if path.suffix != ".bin" and path.stat().st_atime != _NEVER:
                    os.utime(path, (_NEVER, path.stat().st_mtime))
                    found.append(path.relative_to(self.unfetched).as_posix())
        return sorted(found)

    def repository(self, repo: str, commit: str, revision: str | None) -> ScratchRepository:
        """An empty snapshot of ``repo``, in place of what the user's cache has of it."""
        folder = self.path / folder_name(repo)
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        named = revision or "main"
        if named != commit and is_safe(named):
            reference = folder / "refs" / named
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text(commit, encoding="utf-8")
        return ScratchRepository(snapshot, self.unfetched / folder.name)


class ScratchRepository:
    """One snapshot. Names of files must be safe (:func:`hub_names.is_safe`)."""

    def __init__(self, directory: Path, holes: Path) -> None:
        self.directory = directory
        self._holes = holes

    def link(self, file: str, cached: Path) -> None:
        """``file`` is the one at ``cached``."""
        # Not through the snapshot: the cache may be tidied up meanwhile, blobs last longer.
        os.symlink(os.path.realpath(cached), self._place(file))

    def ghost(self, header: Header) -> None:
        """A weights file of which only the header is known."""
        with self._place(header.file).open("wb") as file:
            file.write(header.data)
            for start, data in header.more:
                file.seek(start)
                file.write(data)
            file.truncate(header.size)

    def hold(self, file: str, size: int | None) -> None:
        """``file`` is there, and nothing is known of what is in it."""
        place = self._place(file)
        hole = self._holes / file
        hole.parent.mkdir(parents=True, exist_ok=True)
        with hole.open("wb") as target:
            target.truncate(size or 0)
        os.utime(hole, (_NEVER, hole.stat().st_mtime))
        os.symlink(hole, place)

    def is_held(self, file: str) -> bool:
        """Whether nothing is known of what is in ``file``."""
        place = self.directory / file
        return place.is_symlink() and Path(os.readlink(place)) == self._holes / file

    def _place(self, file: str) -> Path:
        if not is_safe(file):
            raise ValueError(f"{file!r} is no name for a file")
        place = self.directory / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        return place


def folder_name(repo: str) -> str:
    """The folder of a repository in a cache."""
    return "models--" + repo.replace("/", "--")
