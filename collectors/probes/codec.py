"""Loads a codec. mlx-audio has no load function for them: a codec class has its own ``from_pretrained``.

The class is found as an app would: the family by ``model_type`` or by a part of the name, and of
the classes that its package offers the one with a ``from_pretrained``. Several of these take only
a repository id and ask the hub for the snapshot or for one file; a local directory is answered in
the hub's place. A family may have no such class: then others make it as a part of theirs, and
nothing loads it alone.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
from typing import Any, Callable, Dict, Optional

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
        if owner is None:
            reason = "mlx-audio has no function that loads a codec of the family %s by itself" % family
            self._channel.send("unavailable", what="load", reason=reason)
            raise stages.Ended
        configured = _reads_config(module)
        if not configured:
            # Of a codec whose sizes are fixed there is no configuration to read.
            with self.clock.step("config"):
                pass
        if owner not in self._watched_classes:
            stages.wrap_attribute(owner, "__init__", self._step("construct"))
            stages.wrap_attribute(owner, "sanitize", self._step("sanitize"))
            self._watched_classes.append(owner)
        self.seen["module"] = module
        self.on_family(module)
        self.caught.start(self.trace.calls if self.trace is not None else None)
        try:
            return owner.from_pretrained(**_arguments(owner.from_pretrained, path))
        except Exception as error:
            if self.clock.failed is None and "construct" not in self.clock.entered:
                # Before anything is built, from_pretrained reads its config, and may read weights: what its classes
                # say of a config, and what fails behind the weights, is construction.
                reading = isinstance(error, (OSError, json.JSONDecodeError, UnicodeDecodeError))
                self.clock.failed = "config" if reading and configured else "construct"
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
    """The class of a codec's package that loads from files, None where there is none."""
    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and value.__module__.startswith(module.__name__)
            and hasattr(value, "from_pretrained")
        ):
            return value
    return None


def _reads_config(module: Any) -> bool:
    """Whether the code of a codec's package speaks of a file with its config; also where it cannot be read."""
    spoken = False
    for folder in getattr(module, "__path__", []):
        try:
            for name in sorted(os.listdir(folder)):
                if name.endswith(".py"):
                    with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
                        text = file.read()
                    if "config.json" in text or "config.yaml" in text or "load_config" in text:
                        return True
                    spoken = True
        except OSError:
            return True
    return not spoken


def _arguments(function: Callable[..., Any], path: str) -> Dict[str, Any]:
    """What ``from_pretrained`` is called with for the directory ``path``.

    Most take the place alone. Where a name is asked for besides, it is that of the weights file:
    ``mlx_audio/codec/models/s3/model_v2.py::S3TokenizerV2.from_pretrained``.
    """
    parameters = inspect.signature(function).parameters
    places = [name for name in parameters if any(word in name for word in ("repo", "path", "source", "model"))]
    place = places[0] if places else next(iter(parameters))
    given: Dict[str, Any] = {place: path}
    for name, parameter in parameters.items():
        if name != place and parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            given[name] = _weights_name(path)
    return given


def _weights_name(path: str) -> str:
    """The name of the weights file in the directory ``path`` without its ending; else the directory's own."""
    try:
        found = sorted(name for name in os.listdir(path) if name.endswith(".safetensors"))
    except OSError:
        found = []
    return os.path.splitext(found[0])[0] if found else os.path.basename(path.rstrip("/"))


def _answer_for_directories(step: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Let what fetches from the hub take a local directory for what it is; modules bind it when they are imported."""
    import huggingface_hub

    download, download_file = huggingface_hub.snapshot_download, huggingface_hub.hf_hub_download

    def snapshot_download(*args: Any, **kwargs: Any) -> Any:
        given: Dict[str, Any] = dict(zip(("repo_id",), args), **kwargs)
        asked = given.get("repo_id")
        return asked if isinstance(asked, str) and os.path.isdir(asked) else download(*args, **kwargs)

    def hf_hub_download(*args: Any, **kwargs: Any) -> Any:
        given: Dict[str, Any] = dict(zip(("repo_id", "filename"), args), **kwargs)
        asked, name = given.get("repo_id"), given.get("filename")
        if isinstance(asked, str) and isinstance(name, str) and os.path.isdir(asked):
            return os.path.join(asked, name)
        return download_file(*args, **kwargs)

    snapshot_download.__wrapped__ = download  # type: ignore[attr-defined]
    hf_hub_download.__wrapped__ = download_file  # type: ignore[attr-defined]
    huggingface_hub.snapshot_download = step(snapshot_download)
    huggingface_hub.hf_hub_download = step(hf_hub_download)
