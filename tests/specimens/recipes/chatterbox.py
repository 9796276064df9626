"""Chatterbox: a converted checkpoint, with names and layout of the model, without what the model computes.

The size is fixed by classes, but for the vocabularies. The loader looks for nothing that is missing.
"""

import re
from pathlib import Path

from tests.specimens.codecs import S3_TOKENIZER
from tests.specimens.recipe import MAIN_FILE, Config, Files, Recipe, Tensors
from tests.specimens.tokenizers import write_tokenizer

_COMPUTED = re.compile(r"\.(rand_noise|pe|stft_window|trim_fade)$")


def layout(parameters: Tensors, config: Config) -> Files:
    """Shared with Chatterbox Turbo: the model, and the built-in voice beside it."""
    voice: Tensors = {
        "t3.speaker_emb": ("F32", (1, 256)),
        "t3.cond_prompt_speech_tokens": ("I32", (1, 150)),
        "t3.emotion_adv": ("F32", (1, 1, 1)),
        "gen.prompt_token": ("I32", (1, 250)),
        "gen.prompt_token_len": ("I32", (1,)),
        "gen.prompt_feat": ("F32", (1, 500, 80)),
        "gen.embedding": ("F32", (1, 192)),
    }
    checkpoint = {name: tensor for name, tensor in parameters.items() if not _COMPUTED.search(name)}
    return {MAIN_FILE: checkpoint, "conds.safetensors": voice}


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory, ["[STOP]", "[UNK]", "[SPACE]", "[START]"])


RECIPE = Recipe(
    name="chatterbox-fp16",
    small={"t3_config": {"text_tokens_dict_size": 64, "speech_tokens_dict_size": 64}},
    dtype="F16",
    layout=layout,
    side_files=_side_files,
    companions=(S3_TOKENIZER,),
)
