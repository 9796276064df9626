"""Places of a config that belong together, found on the real classes of a family that checks them."""

from __future__ import annotations

from pathlib import Path

from mlx_diagnose.collectors import disagreements
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.knowledge_base.configurations import known_good
from tests.specimens import make_specimen
from tests.specimens.builds import session


def test_a_count_of_codebooks_and_the_list_of_their_sizes(tmp_path: Path) -> None:
    specimen, entry = make_specimen("moss_tts_nano", tmp_path), known_good("moss_tts_nano")
    assert entry is not None
    memory = WorkingMemory()
    with session(specimen, 60) as builds:
        disagreements.collect(memory, specimen.config, entry.config(), [], builds)
        assert not list(memory)
        broken = {**specimen.config, "n_vq": 8}
        assert not (made := builds.build(broken)) or not made.built
        disagreements.collect(memory, broken, entry.config(), [], builds)
    (fact,) = memory.of("component_disagreement")
    assert {fact["path"], fact["other_path"]} == {"n_vq", "audio_codebook_sizes"}
    assert {fact["new_value"], fact["other_new_value"]} == {"4", "[" + ", ".join(["1024"] * 8) + "]"}
    assert fact["either"]
