"""Whose code a file is, by its path alone: paths of tracebacks need not exist on this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_diagnose.collectors.knowledge import distribution_of

_INSTALLED = re.compile(r"(?:site|dist)-packages/(.+)$")
#: The last folder of that name: a checkout may lie in one called so as well.
_MLX_AUDIO = re.compile(r"(?:^|^.*/)mlx_audio/(.+)$", re.DOTALL)
_STDLIB = re.compile(
    r"(?:^<frozen |/lib(?:64)?/python3\.\d+/(?!site-packages/|dist-packages/)|/Versions/3\.\d+/lib/python3"
    r"|/Python3\d+/Lib/(?!site-packages/))"
)
_NAMED = {"mlx": "mlx", "huggingface_hub": "huggingface_hub", "transformers": "transformers"}


@dataclass(frozen=True, slots=True)
class Origin:
    """``kind`` is the ``origin`` of an exception fact; ``inside`` the path below mlx_audio, for its files."""

    kind: str
    package: str | None
    inside: str | None = None

    @property
    def is_model_code(self) -> bool:
        """A family or a codec of mlx-audio: what a config or a checkpoint meets."""
        return self.kind in ("family", "codec")


def origin_of(file: str) -> Origin:
    """Whose code ``file`` is: loader, family, codec, mlx, huggingface_hub, transformers, stdlib or dependency.

    mlx-audio's own top-level files are ``loader``, its ``<category>/models`` folders ``family``,
    its ``codec`` folder ``codec``, wherever the package lies (a wheel, a checkout, PYTHONPATH).
    """
    path = file.replace("\\", "/")
    inside = _MLX_AUDIO.search(path)
    if inside:
        parts = inside[1].split("/")
        if parts[0] == "codec" and len(parts) > 1:
            kind = "codec"
        elif parts[0] == "lm" or (len(parts) > 2 and parts[1] == "models"):
            kind = "family"
        else:
            kind = "loader"
        return Origin(kind, "mlx-audio", inside[1])
    installed = _INSTALLED.search(path)
    if installed:
        top = re.sub(r"\.(py|so|pyd|pyc|cpython-.*|abi3.*)$", "", installed[1].split("/")[0])
        return Origin(_NAMED.get(top, "dependency"), distribution_of(top))
    if _STDLIB.search(path):
        return Origin("stdlib", None)
    return Origin("dependency", None)
