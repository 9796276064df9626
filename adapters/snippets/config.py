# mypy: ignore-errors
"""Changes of a config at a path of keys, for those that do not fit into a line."""

from __future__ import annotations


def put(config, path, value):
    """Set what is at ``path``; in a list, insert it there."""
    for part in path[:-1]:
        config = config[part]
    if isinstance(config, list):
        config.insert(path[-1], value)
    else:
        config[path[-1]] = value


def take(config, path):
    """Take away what is at ``path``, and return it."""
    for part in path[:-1]:
        config = config[part]
    return config.pop(path[-1])
