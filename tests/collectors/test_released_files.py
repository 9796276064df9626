from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from mlx_diagnose.collectors.released_files import as_released


@pytest.mark.parametrize(("now", "expected"), [(b"x = 1\n", True), (b"x = 2\n", False)])
def test_a_file_is_held_against_its_record(tmp_path: Path, now: bytes, expected: bool) -> None:
    file = tmp_path / "mlx_audio" / "tts" / "utils.py"
    file.parent.mkdir(parents=True)
    file.write_bytes(now)
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).rstrip(b"=").decode()
    folder = tmp_path / "mlx_audio-0.4.3.dist-info"
    folder.mkdir()
    (folder / "RECORD").write_text(f"mlx_audio/tts/utils.py,sha256={digest},6\nmlx_audio/x.py,,\n")
    assert as_released(str(file), "mlx_audio") is expected


def test_nobody_wrote_it_down(tmp_path: Path) -> None:
    file = tmp_path / "mlx_audio" / "utils.py"
    file.parent.mkdir()
    file.touch()
    assert as_released(str(file), "mlx_audio") is None
    assert as_released(str(tmp_path / "other.py"), "mlx_audio") is None
