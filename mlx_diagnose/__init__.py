"""Rule-based diagnosis of text-to-speech models of mlx-audio that fail to initialise."""

__version__ = "0.1.0"
