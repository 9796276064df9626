"""Small releases of mlx-audio, written for tests: folders ``mlx_audio`` of an old and of a new style."""

from __future__ import annotations

import textwrap
from pathlib import Path

#: As releases 0.0.x had it: everything in the category, ``from_dict`` written out in each family.
OLD = {
    "mlx_audio/__init__.py": "",
    "mlx_audio/version.py": '__version__ = "0.0.4"\n',
    "mlx_audio/tts/__init__.py": "",
    "mlx_audio/tts/utils.py": """
        def load_model(model_path, lazy=False, strict=True, **kwargs):
            return model_path
    """,
    "mlx_audio/tts/models/__init__.py": "",
    "mlx_audio/tts/models/chant/__init__.py": "from .chant import Model, ModelConfig\n",
    "mlx_audio/tts/models/chant/chant.py": """
        import inspect
        from dataclasses import dataclass, field
        from typing import List, Optional

        @dataclass
        class VoiceConfig:
            pitch: int = 100
            rates: List[int] = field(default_factory=lambda: [8, 8])

        @dataclass
        class ModelConfig:
            hidden_size: int
            num_heads: int = 8
            sample_rate: int = 24000
            old_switch: bool = False
            voice_config: Optional[VoiceConfig] = None

            @classmethod
            def from_dict(cls, params):
                return cls(**{k: v for k, v in params.items() if k in inspect.signature(cls).parameters})

        class Model:
            def __init__(self, config: ModelConfig):
                self.config = config
                self.head_dim = config.hidden_size // config.num_heads
    """,
    "mlx_audio/tts/models/gone/__init__.py": "class Model:\n    def __init__(self, config):\n        pass\n",
}

#: The same family two years later.
NEW = {
    **{name: text for name, text in OLD.items() if "/gone/" not in name},
    "mlx_audio/version.py": '__version__ = "0.9.0"\n',
    "mlx_audio/tts/utils.py": """
        from mlx_audio.utils import base_load_model

        def load_model(model_path, lazy=False, strict=False, revision=None):
            return base_load_model(model_path)
    """,
    "mlx_audio/tts/models/chant/chant.py": """
        import inspect
        from dataclasses import dataclass, field

        @dataclass
        class VoiceConfig:
            pitch: int
            rates: list[int] = field(default_factory=lambda: [4] * 3)

        @dataclass
        class ModelConfig:
            hidden_size: int
            num_heads: int = 16
            sample_rate: float = 24000
            depth: int = 4
            width: int
            voice_config: VoiceConfig | None = None

            @classmethod
            def from_dict(cls, params):
                return cls(**params)

        class Model:
            def __init__(self, config: ModelConfig):
                self.config = config
    """,
    "mlx_audio/stt/models/fresh/__init__.py": "class Model:\n    def __init__(self, config):\n        pass\n",
}


def write_release(folder: Path, files: dict[str, str]) -> Path:
    """Write ``files`` under ``folder``; the folder ``mlx_audio``."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    return folder / "mlx_audio"
