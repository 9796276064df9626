"""What the loader's reader makes of config.json: keys that stand in the file and not in what it returns."""

from __future__ import annotations

import inspect
import json
import os
from typing import Any, Callable, Dict, Iterator, List, Optional

_MOST, _DEEPEST = 100, 4


def lost(directory: Any, read: Any) -> List[str]:
    """Dotted paths of ``directory``/config.json that ``read``, which was made of it, does not have."""
    try:
        with open(os.path.join(os.fspath(directory), "config.json"), encoding="utf-8") as file:
            written = json.load(file)
    except (OSError, TypeError, ValueError):
        return []
    found: List[str] = []
    for path in _absent(written, read, "", 0) if isinstance(written, dict) and isinstance(read, dict) else ():
        if len(found) == _MOST:
            break
        found.append(path)
    return found


def _absent(written: Dict[str, Any], read: Dict[str, Any], prefix: str, depth: int) -> Iterator[str]:
    for name, value in list(written.items()):
        if name not in read:
            yield prefix + str(name)
        elif isinstance(value, dict) and isinstance(read[name], dict) and depth < _DEEPEST:
            for path in _absent(value, read[name], "%s%s." % (prefix, name), depth + 1):
                yield path


def reader_of(function: Callable[..., Any]) -> Optional[str]:
    """The package that reads the config for ``function``, where its source names one."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return None
    return "transformers" if "AutoConfig" in source else None
