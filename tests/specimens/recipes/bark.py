"""Bark: names of the original GPT (``h.0`` for ``layers.0``)."""

from tests.specimens.codecs import bert_tokenizer
from tests.specimens.layouts import renamed
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors

_GPT = {"n_embd": 64, "n_head": 2, "n_layer": 2, "hidden_size": 64, "num_heads": 2, "num_layers": 2}


def _layout(parameters: Tensors, config: Config) -> Files:
    names = [(r"^(semantic|coarse_acoustics|fine_acoustics)\.layers\.", r"\1._orig_mod.transformer.h.")]
    return {MAIN_FILE: renamed(parameters, names)}


RECIPE = Recipe(
    name="bark-small",
    small={
        "semantic_config": {**_GPT, "input_vocab_size": 128, "output_vocab_size": 128},
        "coarse_acoustics_config": {**_GPT, "input_vocab_size": 128, "output_vocab_size": 128},
        "fine_acoustics_config": _GPT,
    },
    dtype="F32",
    layout=_layout,
    companions=(bert_tokenizer("bert-base-multilingual-cased"),),
)
