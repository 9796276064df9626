"""Chatterbox Turbo: as Chatterbox; nothing of its size is in config.json."""

from pathlib import Path

from tests.specimens.codecs import S3_TOKENIZER
from tests.specimens.recipe import Config, Recipe
from tests.specimens.recipes.chatterbox import layout
from tests.specimens.tokenizers import write_tokenizer


def _side_files(directory: Path, config: Config) -> None:
    write_tokenizer(directory)


RECIPE = Recipe(
    name="chatterbox-turbo-fp16",
    small={},
    dtype="F16",
    layout=layout,
    side_files=_side_files,
    companions=(S3_TOKENIZER,),
)
