"""OuteTTS: a plain Llama checkpoint; the family comes from the repository's name."""

from tests.specimens.codecs import tokenizer
from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors

_SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 64,
}


def _layout(parameters: Tensors, config: Config) -> Files:
    return {MAIN_FILE: renamed(parameters, [(r"^model\.model\.", "model."), (r"^model\.lm_head\.", "lm_head.")])}


RECIPE = Recipe(
    name="Llama-OuteTTS-1.0-1B",
    small=_SMALL,
    layout=_layout,
    companions=(tokenizer("OuteAI/Llama-OuteTTS-1.0-1B"),),
)
