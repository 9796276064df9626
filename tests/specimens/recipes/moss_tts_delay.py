"""MOSS TTS with the delay pattern: the same classes under another model type."""

from dataclasses import replace

from tests.specimens.recipes import moss_tts

RECIPE = replace(moss_tts.RECIPE, name="MOSS-TTS-8B-delay")
