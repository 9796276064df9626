"""Where rules come from, in the order of search; a later source overrides an earlier one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_diagnose.engine.model import UsageError

if TYPE_CHECKING:
    from importlib.abc import Traversable

ENTRY_POINT_GROUP = "mlx_diagnose.rule_packs"
BUILT_IN = "built-in"
PROJECT_FOLDER = "diagnose-rules"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One file of a source. ``path`` is what messages call it, ``stem`` its name without suffix."""

    path: str
    stem: str
    content: Traversable


@dataclass(frozen=True, slots=True)
class RuleSource:
    """A folder of rule files (or one file). ``name`` says where it stands in the order of search."""

    name: str
    root: Traversable

    def files(self) -> Iterator[RuleFile]:
        """All rule files at or below the root, by name; hidden files and folders are left out."""
        if self.root.is_file():
            yield RuleFile(str(self.root), Path(self.root.name).stem, self.root)
        else:
            yield from _walk(self.root, str(self.root))


def _walk(folder: Traversable, path: str) -> Iterator[RuleFile]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith((".", "_")):
            continue
        below = f"{path}/{entry.name}"
        if entry.name.endswith(_SUFFIXES):
            if entry.is_file():
                yield RuleFile(_shown(below), entry.name.rsplit(".", 1)[0], entry)
        elif entry.is_dir():
            yield from _walk(entry, below)


def _shown(path: str) -> str:
    """``path`` as a person would write it: relative to the current folder where it lies below."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path


def builtin_source() -> RuleSource:
    """The rules that ship with the package."""
    from mlx_diagnose import rules

    folder = Path(next(iter(rules.__path__)))
    if folder.is_dir():
        return RuleSource(BUILT_IN, folder)
    from importlib.resources import files  # inside a zip

    return RuleSource(BUILT_IN, files(rules))


def directory_source(path: Path) -> RuleSource:
    """The source for ``--rules DIR`` (a single file will do); raises UsageError if it is not there."""
    if not path.exists():
        raise UsageError(
            "no-such-rules", f"there is no rules folder {str(path)!r}", next_step="Check the path given to --rules."
        )
    return RuleSource(f"--rules {path}", path)


def default_sources(extra_dirs: Sequence[Path] = (), plugins: bool = True) -> list[RuleSource]:
    """Built-in rules, ``--rules`` folders, ``./diagnose-rules/``, the user's folder, installed packs."""
    found = [builtin_source(), *(directory_source(path) for path in extra_dirs)]
    project = Path.cwd() / PROJECT_FOLDER
    if project.is_dir():
        found.append(RuleSource(f"./{PROJECT_FOLDER}", project))
    user = user_rules_folder()
    if user.is_dir():
        found.append(RuleSource("user", user))
    if plugins:
        found.extend(_packs())
    return found


def user_rules_folder() -> Path:
    """``rules`` below the user's configuration folder of this tool."""
    from platformdirs import user_config_path

    return user_config_path("mlx-diagnose", appauthor=False) / "rules"


def _packs() -> Iterator[RuleSource]:
    """Folders of installed rule packs. They are located, never imported: a pack is data."""
    from importlib.metadata import entry_points
    from importlib.util import find_spec

    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name):
        top, _, rest = entry.module.partition(".")
        spec = find_spec(top)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            folder = Path(location, *rest.split(".")) if rest else Path(location)
            if folder.is_dir():
                yield RuleSource(f"pack {entry.name}", folder)
