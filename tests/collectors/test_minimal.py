"""Minimal builds on the real loader: small twins with real arrays, parts one by one, sections that do not fit."""

from __future__ import annotations

import copy
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from mlx_diagnose.collectors import minimal, scaling
from mlx_diagnose.collectors.builds import Builds
from mlx_diagnose.collectors.components import role_of
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import Limits, PatientProcess
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.knowledge_base.configurations import known_good
from tests.specimens import make_specimen
from tests.specimens.hub import environment

FAMILY = "vibevoice"


@dataclass
class Session:
    """A patient that has loaded a whole VibeVoice, and its config."""

    config: dict[str, Any]
    builds: Builds

    def changed(self, change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        config = copy.deepcopy(self.config)
        change(config)
        return config

    def examine(self, config: dict[str, Any]) -> WorkingMemory:
        """Facts of the minimal builds of ``config``."""
        memory = WorkingMemory()
        memory.add(
            "resolution",
            Provenance("test"),
            resolved=FAMILY,
            category="tts",
            via="declared",
            family_exists=True,
            declared_exists=True,
            declared_usual=False,
        )
        directory = self.builds.overlays.with_config(config)
        run = self.builds.first.successor().take(self.builds.process.request(load=str(directory)))
        minimal.collect(memory, config, run, self.builds)
        return memory


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    specimen = make_specimen(FAMILY, tmp_path_factory.mktemp("minimal"))
    load = str(specimen.path)
    job = {"load": load, "name": specimen.path.name, "directory": load, "category": "tts", "offline": True}
    with PatientProcess(
        sys.executable, job, {**os.environ, **environment(specimen.hub)}, Limits(300, 8 << 30)
    ) as process:
        run = LoadRun().take(process.messages())
        with Overlays(specimen.path, specimen.path.name) as overlays:
            yield Session(dict(specimen.config), Builds(process, overlays, run, time.monotonic() + 240))


def test_a_whole_model_is_built_part_by_part(session: Session) -> None:
    memory = session.examine(session.config)
    parts = {str(fact["component"]): fact for fact in memory.of("component_build", nested=False)}
    assert {fact["outcome"] for fact in parts.values()} == {"built"}
    assert (parts["acoustic_tokenizer"]["role"], parts["acoustic_tokenizer"]["section"]) == (
        "codec",
        "acoustic_tokenizer_config",
    )
    assert parts["prediction_head"]["section"] == "diffusion_head_config"
    assert "diffusion_head_config.ddpm_num_steps" in str(parts["noise_scheduler"]["keys"])
    assert parts["AutoTokenizer"]["stage"] == "post_load"
    (full, scaled) = memory.of("minimal_build")
    assert (full["size"], full["outcome"], scaled["size"], scaled["evaluated"]) == ("full", "built", "scaled", True)


def test_the_part_that_cannot_be_built_is_named_with_its_section(session: Session) -> None:
    broken = session.changed(lambda config: config["diffusion_head_config"].__setitem__("hidden_size", "x"))
    memory = session.examine(broken)
    (failed,) = memory.of("component_build", nested=False, outcome="failed")
    assert (failed["component"], failed["section"]) == ("prediction_head", "diffusion_head_config")
    assert failed["alone"] and failed["ends_load"]
    assert failed["exception_type"] == "TypeError"
    # Its neighbours, also those that are made after it, were built.
    assert memory.of("component_build", component="noise_scheduler", outcome="built")
    # The same config of the family is good, at any size; it fails with this section in it, and with no other.
    assert [fact["outcome"] for fact in memory.of("minimal_build", config="known-good")] == ["built", "built"]
    sections = {str(fact["section"]): fact for fact in memory.of("section_build")}
    assert [name for name, fact in sections.items() if fact["outcome"] == "failed"] == ["diffusion_head_config"]
    assert sections["diffusion_head_config"]["same_failure"]
    assert "prediction_head" in str(sections["diffusion_head_config"]["component"])


def test_the_key_that_no_model_of_the_family_can_be_built_with(session: Session) -> None:
    memory = session.examine(
        session.changed(lambda config: config["acoustic_tokenizer_config"].__setitem__("decoder_n_filters", -1))
    )
    (culprit,) = memory.of("culprit")
    assert (culprit["path"], culprit["value"]) == ("acoustic_tokenizer_config.decoder_n_filters", "-1")
    assert (culprit["known_good"], culprit["together"]) == ("32", 1)
    assert int(str(culprit["among"])) > 10


def test_a_small_twin_of_gigabytes_is_made_of_real_arrays(session: Session) -> None:
    entry = known_good(FAMILY)
    assert entry is not None
    config = entry.config()
    full = session.builds.build(config)
    scaled = scaling.scale(config, [], session.builds, minimal.TWIN)
    assert full is not None and scaled is not None
    assert full.bytes > 2**31 > minimal.TWIN >= scaled.build.bytes
    made = session.builds.build(scaled.config, evaluate=minimal.TWIN)
    assert made is not None and made.evaluated is True
    # What was equal is equal still.
    small = scaled.config
    assert small["decoder_config"]["hidden_size"] == small["diffusion_head_config"]["hidden_size"]
    assert small["decoder_config"]["hidden_size"] < config["decoder_config"]["hidden_size"]


def test_more_than_the_budget_is_not_evaluated(session: Session) -> None:
    made = session.builds.build(session.config, evaluate=1)
    assert made is not None and made.built and made.evaluated is None


def test_the_patient_loads_as_before(session: Session) -> None:
    directory = session.builds.overlays.with_config(session.config)
    minimal.parts_of(session.config, session.builds)
    run = session.builds.first.successor().take(session.builds.process.request(load=str(directory)))
    assert run.loads
    assert run.given


@pytest.mark.parametrize(
    ("name", "class_name", "module", "role"),
    [
        ("text_encoder", "TextEncoder", "mlx_audio.tts.models.kokoro.modules", "text-encoder"),
        ("tokenizer", "BertTokenizer", "transformers", "tokenizer"),
        ("speech_tokenizer", "X", "mlx_audio.tts.models.x", "codec"),
        ("_audio_tokenizer", "Mimi", "mlx_audio.codec.models.mimi", "codec"),
        ("speaker_encoder", "ECAPA", "mlx_audio.tts.models.x", "speaker-encoder"),
        ("dac_model", "DAC", "mlx_audio.codec.models.descript", "codec"),
        ("model", "DiaModel", "mlx_audio.tts.models.dia", "backbone"),
        ("lm_head", "Linear", "mlx.nn.layers.linear", "layer"),
        ("thing", "Thing", "mlx_audio.tts.models.x", "other"),
    ],
)
def test_a_part_is_known_by_its_name(name: str, class_name: str, module: str, role: str) -> None:
    assert role_of(name, class_name, module) == role
