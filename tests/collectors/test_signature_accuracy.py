"""The source and the living classes of the installed mlx-audio must tell the same of every family."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlx_diagnose.collectors.annotation_types import normalised
from mlx_diagnose.collectors.release_signatures import Release

#: Says what the living classes say, and tries a dict with a key that none of them knows.
_LIVE = """
import contextlib, importlib, inspect, json, sys
from mlx_diagnose.collectors.probes import signature
KEY = "a_key_that_no_class_knows"

class Filled(dict):
    def __missing__(self, name):
        return Filled()

def required(cls):
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = [p for p in inspect.signature(cls).parameters.values() if p.kind in kinds]
    return {p.name: Filled() for p in named if p.default is p.empty}

def fate(cls, own):
    try:
        made = cls.from_dict(Filled({KEY: 1})) if own else cls(**required(cls), **{KEY: 1})
    except TypeError as error:
        if KEY in str(error) or "takes no arguments" in str(error):
            return "rejected"
        return "dropped" if "missing" in str(error) else None
    except Exception:
        return None  # it wants files, or a hub
    return "accepted" if hasattr(made, KEY) else "dropped"

found = {}
with contextlib.redirect_stdout(sys.stderr):
    for name in sys.argv[1:]:
        try:
            module = importlib.import_module(name)
        except BaseException as error:
            found[name] = None
            continue
        document = signature.describe(module)
        for item in document["classes"]:
            cls = getattr(sys.modules[item["module"]], item["class_name"], None)
            own = callable(getattr(cls, "from_dict", None))
            item["takes"] = None if item["role"] == "model" else ["from_dict" if own else "constructor", fate(cls, own)]
        found[name] = document
json.dump(found, sys.stdout)
"""

#: Families that need packages or repositories which are not there.
_NOT_IMPORTED = {"tts/llama", "tts/pocket_tts", "tts/qwen3", "tts/spark"}
_FEW = ["tts/kokoro", "tts/dia", "tts/soprano", "stt/parakeet", "vad/silero_vad", "codec/snac"]


@pytest.fixture(scope="module")
def release() -> Release:
    found = importlib.util.find_spec("mlx_audio")
    if found is None or not found.submodule_search_locations:
        pytest.skip("mlx-audio is not installed")
    folder = Path(found.submodule_search_locations[0])
    return Release(folder, (str(folder.parent),))


def test_some_families(release: Release) -> None:
    assert _differences(release, [name for name in _FEW if tuple(name.split("/")) in release.families()]) == []


@pytest.mark.long
def test_every_family(release: Release) -> None:
    assert _differences(release, ["/".join(key) for key in release.families()]) == []


def _differences(release: Release, families: list[str]) -> list[str]:
    modules = ["mlx_audio.{}.models.{}".format(*name.split("/")) for name in families]
    done = subprocess.run(
        [sys.executable, "-c", _LIVE, *modules],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[str] = []
    for name, live in zip(families, json.loads(done.stdout).values(), strict=True):
        if live is None:
            assert name in _NOT_IMPORTED, f"{name} is not imported"
            continue
        static = {(c["module"], c["class_name"]): c for c in release.describe(*name.split("/"))["classes"]}
        for cls in live["classes"]:
            own = static.get((cls["module"], cls["class_name"]))
            where = f"{name} {cls['class_name']}"
            found += [f"{where}: not in the source"] if own is None else _of_class(where, cls, own)
        found += [f"{name}: {reason}" for reason in live["reasons"]]
    return found


def _of_class(where: str, live: dict[str, Any], static: dict[str, Any]) -> list[str]:
    found = [
        f"{where}.{name}: {live[name]} alive, {static[name]} in the source"
        for name in ("role", "dataclass", "accepts_any")
        if live[name] != static[name]
    ]
    alive, written = ({p["name"]: p for p in side["parameters"]} for side in (live, static))
    if list(alive) != list(written):
        found.append(f"{where}: takes {list(alive)} alive, {list(written)} in the source")
    for name in alive.keys() & written.keys():
        one, other = alive[name], written[name]
        for aspect in ("required", "default", "nested"):
            if one[aspect] != other[aspect]:
                found.append(f"{where}.{name}: {aspect} {one[aspect]} alive, {other[aspect]} in the source")
        if normalised(one["type"]) != normalised(other["type"]):
            found.append(f"{where}.{name}: type {one['type']} alive, {other['type']} in the source")
    if live["takes"] is not None:
        takes = static["takes_dict"]
        method, fate = live["takes"]
        if takes["method"] != method or (fate is not None and takes["unknown_keys"] != fate):
            found.append(f"{where}: {method}, {fate} alive; {takes['method']}, {takes['unknown_keys']} in the source")
    return found
