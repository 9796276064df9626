"""MOSS TTS with the delay pattern: the same classes under another model type."""

from dataclasses import replace

from tests.specimens.families import moss_tts

RECIPE = replace(moss_tts.RECIPE, name="MOSS-TTS-8B-delay")
