"""The change behind a failure is found by trying, on the real loader; what is ambiguous says so."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors import counterfactual
from mlx_diagnose.collectors.config_edit import Edit
from mlx_diagnose.collectors.counterfactual import Repair
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.overlay import Overlays
from mlx_diagnose.collectors.process import Limits, PatientProcess
from mlx_diagnose.collectors.swapped_values import MAX_PAIRS
from mlx_diagnose.collectors.swapped_values import candidates as exchanged
from mlx_diagnose.collectors.trials import Outcome, Trials, outcome_of
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from tests.specimens import make_specimen
from tests.specimens.hub import environment


@contextmanager
def session(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> Iterator[tuple[dict[str, Any], Trials, LoadRun]]:
    specimen = make_specimen("soprano", folder)
    config = json.loads((specimen.path / "config.json").read_text())
    change(config)
    (specimen.path / "config.json").write_text(json.dumps(config))
    load = str(specimen.path)
    job = {"load": load, "name": specimen.path.name, "directory": load, "category": "tts", "offline": True}
    with PatientProcess(
        sys.executable, job, {**os.environ, **environment(specimen.hub)}, Limits(120, 8 << 30)
    ) as process:
        run = LoadRun().take(process.messages())
        with Overlays(specimen.path, specimen.path.name) as overlays:
            yield config, Trials(process, overlays, time.monotonic() + 60, run), run


def search(folder: Path, change: Callable[[dict[str, Any]], object], memory: WorkingMemory) -> Repair | None:
    with session(folder, change) as (config, trials, run):
        return counterfactual.search(config, memory, outcome_of(run, None), trials)


def test_a_wrong_width_is_found_from_the_shapes_alone(tmp_path: Path) -> None:
    memory = WorkingMemory()
    repair = search(tmp_path, lambda config: config.__setitem__("intermediate_size", 96), memory)
    assert repair is not None
    assert (repair.edit.path, repair.outcome.loads, repair.unique) == (("intermediate_size",), True, True)
    (fact,) = memory.of("config_repair")
    assert (fact["old"], fact["operation"], fact["mismatches_after"]) == ("96", "replace", 0)
    assert fact["mismatches_before"] == 3 * 2
    assert json.loads(str(fact["new"])) == repair.edit.value


def test_a_count_of_layers_is_found_from_the_layers_that_differ(tmp_path: Path) -> None:
    memory = WorkingMemory()
    memory.add(
        "layers_absent", Provenance("weights_difference"), stem="language_model.layers", in_model=5, in_checkpoint=2
    )
    repair = search(tmp_path, lambda config: config.__setitem__("num_hidden_layers", 5), memory)
    assert repair is not None
    assert repair.edit == Edit("replace", ("num_hidden_layers",), 2)


def test_a_session_describes_the_classes_of_a_family_once(tmp_path: Path) -> None:
    with session(tmp_path, lambda config: config.__setitem__("intermediate_size", 96)) as (config, trials, run):
        for width in (97, 98):
            outcome = trials.run({**config, "intermediate_size": width})
            assert outcome is not None and outcome.stage == "load"
            assert outcome.run.signature is not None and outcome.run.signature is run.signature


def test_two_changes_that_do_as_well_are_ambiguous(tmp_path: Path) -> None:
    memory = WorkingMemory()
    for given in ("first", "second"):
        memory.add(
            "key_similarity",
            Provenance("config_difference"),
            given=given,
            wanted="num_hidden_layers",
            score=0.5,
            required=True,
            known_alias=False,
            best=False,
            usual=False,
        )

    def change(config: dict[str, Any]) -> None:
        layers = config.pop("num_hidden_layers")
        config.update(first=layers, second=layers)

    repair = search(tmp_path, change, memory)
    assert repair is not None
    assert (repair.outcome.loads, repair.unique) == (True, False)
    (fact,) = memory.of("config_repair")
    assert fact["alternatives"] == "second to num_hidden_layers"


def test_nothing_is_tried_after_the_deadline(tmp_path: Path) -> None:
    with session(tmp_path, lambda config: config.__setitem__("hidden_size", 96)) as (config, trials, run):
        trials._until = 0.0
        assert trials.exhausted
        assert trials.run({**config, "hidden_size": 64}) is None
        assert counterfactual.search(config, WorkingMemory(), outcome_of(run, None), trials) is None


def test_the_same_config_is_tried_once(tmp_path: Path) -> None:
    with session(tmp_path, lambda config: config.__setitem__("hidden_size", 96)) as (config, trials, _):
        first, second = trials.run(config), trials.run(dict(reversed(config.items())))
        assert first is second
        assert trials.count == 1


def test_two_widths_in_each_others_place_are_exchanged(tmp_path: Path) -> None:
    memory = WorkingMemory()
    repair = search(tmp_path, lambda config: config.update(hidden_size=128, intermediate_size=64), memory)
    assert repair is not None and repair.outcome.loads and repair.unique
    (fact,) = memory.of("config_repair")
    assert (fact["operation"], fact["path"], fact["new_path"]) == ("swap", "hidden_size", "intermediate_size")
    assert (fact["old"], fact["new"]) == ("128", "64")


def test_only_values_of_a_kind_are_exchanged_and_not_without_end() -> None:
    config = {
        "encoder_dim": 8,
        "decoder_dim": 16,
        "encoder_rates": [2, 4],
        "decoder_rates": [4, 2],
        "more_rates": [1, 2, 3],
        "kernel": 7,
        "use_dim": True,
    }
    base = Outcome("construct", 0, LoadRun())
    found = [(edit.path, edit.to) for edit in (one.edit for one in exchanged(config, WorkingMemory(), base))]
    assert found == [(("encoder_dim",), ("decoder_dim",)), (("encoder_rates",), ("decoder_rates",))]
    many = {f"layer_{number}_dim": number for number in range(1, 100)}
    assert len(exchanged(many, WorkingMemory(), base)) == MAX_PAIRS
    assert exchanged(config, WorkingMemory(), Outcome("weights", 0, LoadRun())) == []
