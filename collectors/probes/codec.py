"""Loads a codec. mlx-audio has no load function for them: a codec class has its own ``from_pretrained``.

The class is found as an app would: the family by ``model_type`` or by a part of the name, and of
the classes that its package offers the one with a ``from_pretrained``. Several of these take only
a repository id and ask the hub for the snapshot; a local directory is answered in the hub's place.
"""

from __future__ import annotations

import importlib
import inspect
import os
from typing import Any, Callable, Dict, List, Optional

from mlx_diagnose.collectors.probes import installed, stages
from mlx_diagnose.collectors.probes.channel import Channel
from mlx_diagnose.collectors.probes.load import Loader

_MODELS = "mlx_audio.codec.models"


class CodecLoader(Loader):
    """The stages of a codec's ``from_pretrained``: those before it are ours, those in it are marked."""

    def __init__(self, channel: Channel, directory: Optional[str], category: str, name: str) -> None:
        super().__init__(channel, directory, category)
        self._name = name

    def prepare(self) -> None:
        """Put the marks in place. Raises what an import of MLX raises."""
        self._wrap_mlx()
        _answer_for_directories(self._step("resolve"))
        self.load = self._from_pretrained
        self._parameters = inspect.signature(self._from_pretrained).parameters
        self._channel.send(
            "loader", module=_MODELS, function="from_pretrained", strict=True, shared=False, category=self.category
        )

    def _from_pretrained(self, path: str) -> Any:
        with self.clock.step("architecture"):
            family = self._family(path)
            self.clock.advance("import")
            module = importlib.import_module("%s.%s" % (_MODELS, family))
        owner = _class_of(module)
        if owner not in self._watched_classes:
            stages.wrap_attribute(owner, "__init__", self._step("construct"))
            stages.wrap_attribute(owner, "sanitize", self._step("sanitize"))
            self._watched_classes.append(owner)
        self.seen["module"] = module
        self.on_family(module)
        self.caught.start()
        try:
            return owner.from_pretrained(path)
        except (OSError, ValueError):
            if self.clock.failed is None and "construct" not in self.clock.entered:
                # Before anything is built, from_pretrained reads its config.
                self.clock.failed = "config"
            raise
        except Exception:
            if self.clock.failed is None and "construct" not in self.clock.entered:
                # Weights may be read before anything is built: what fails behind them is not sanitize.
                self.clock.failed = "construct"
            raise

    def _family(self, path: str) -> str:
        """The family of the codec at ``path``. Raises ValueError where mlx-audio has none."""
        config = installed.read_config(path)
        declared = config.get("model_type") if isinstance(config, dict) else None
        parts = installed.name_parts(self._name)
        known = installed.families(self._directory or "", self.category)
        named = [family for family in known if family in parts]
        # S3TokenizerV2, SNAC24: a part may begin with a family's name.
        named += sorted((f for f in known if any(part.startswith(f) for part in parts)), key=len, reverse=True)
        if isinstance(declared, str) and declared in known:
            named.insert(0, declared)
        found = named[0] if named else None
        self._report_resolution(declared, parts, found)
        if found is None:
            raise ValueError("Model type %s not supported for codec." % declared)
        return found


def _class_of(module: Any) -> Any:
    """The class of a codec's package that loads from files. Raises AttributeError where there is none."""
    own: List[Any] = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__.startswith(module.__name__) and hasattr(value, "from_pretrained")
    ]
    if not own:
        raise AttributeError("no class of %s has from_pretrained" % module.__name__)
    return own[0]


def _answer_for_directories(step: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Let ``snapshot_download`` take a local directory for what it is; modules bind it when they are imported."""
    import huggingface_hub

    download = huggingface_hub.snapshot_download

    def snapshot_download(*args: Any, **kwargs: Any) -> Any:
        given: Dict[str, Any] = dict(zip(("repo_id",), args), **kwargs)
        asked = given.get("repo_id")
        return asked if isinstance(asked, str) and os.path.isdir(asked) else download(*args, **kwargs)

    snapshot_download.__wrapped__ = download  # type: ignore[attr-defined]
    huggingface_hub.snapshot_download = step(snapshot_download)
