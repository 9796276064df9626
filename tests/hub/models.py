"""Models for the loopback hub: specimens in shards, and an environment in which this process asks it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlx_diagnose.engine.specimen import write_safetensors
from tests.hub.repositories import Repository
from tests.hub.server import HubServer
from tests.specimens import Size, make_specimen
from tests.specimens.recipe import Specimen


def publish(
    hub: HubServer, family: str, directory: Path, *, size: Size = "small", shards: int = 1, owner: str = "org"
) -> tuple[str, Specimen]:
    """Publish a specimen and its companions; the id of the model, and the specimen."""
    made = make_specimen(family, directory, size=size)
    if shards > 1:
        split(made, shards)
    for folder in sorted((made.hub / "hub").iterdir()):
        (snapshot,) = (folder / "snapshots").iterdir()
        hub.add(Repository.from_directory(folder.name.removeprefix("models--").replace("--", "/", 1), snapshot))
    model = hub.add(Repository.from_directory(f"{owner}/{made.path.name}", made.path))
    return model.id, made


def split(made: Specimen, shards: int) -> None:
    """Spread the weights of a specimen over files with an index, as large checkpoints are published."""
    tensors = {name: tensor for table in made.files.values() for name, tensor in table.items()}
    for file in made.files:
        (made.path / file).unlink()
    names = list(tensors)
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {name: tensors[name] for name in names[number::shards]}
        write_safetensors(made.path / file, part, metadata={"format": "mlx"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (made.path / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def use(hub: HubServer, home: Path, monkeypatch: pytest.MonkeyPatch, token: str | None = None) -> None:
    """Let this process, and what it starts, ask ``hub`` and keep its cache in ``home``."""
    from huggingface_hub import constants

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in hub.environment(home, token).items():
        monkeypatch.setenv(name, value)
    # The client reads these once a process, maybe while another test had them otherwise.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
