"""Ming Omni TTS, dense: a Qwen2 language model, an audio VAE of two more, a flow head. Names of the model."""

from pathlib import Path

from tests.specimens.recipe import Config, Recipe
from tests.specimens.tokenizers import write_tokenizer


def side_files(directory: Path, config: Config) -> None:
    """Shared with the mixture of experts."""
    write_tokenizer(directory, ["<audioPatch>", "<audio>", "</audio>", "<spk>", "</spk>"])


_QWEN2 = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
#: Small sections that all Ming models have.
AUDIO = {
    "audio_tokenizer_config": {"enc_kwargs": {"backbone": _QWEN2}, "dec_kwargs": {"backbone": _QWEN2}},
    "ditar_config": {"hidden_size": 64, "depth": 2, "num_heads": 2},
    "aggregator_config": {"hidden_size": 64, "depth": 1, "num_heads": 2},
}

RECIPE = Recipe(
    name="Ming-omni-tts-0.5B-bf16",
    small={"llm_config": {**_QWEN2, "vocab_size": 64}, **AUDIO},
    side_files=side_files,
)
