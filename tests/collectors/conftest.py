"""What several collectors are tried on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mlx_audio() -> Path:
    """The installed mlx-audio; it is read, not imported."""
    found = importlib.util.find_spec("mlx_audio")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mlx-audio is not installed")
    return Path(found.submodule_search_locations[0])
