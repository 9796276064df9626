"""A model path may be a Path: mlx-audio 0.1 and 0.2 look for a part ``hub`` in one and fail without it.

Both take a text (``mlx_audio/tts/utils.py::load_model``).
"""


def install():
    import os

    from mlx_audio.tts import utils

    load_model = utils.load_model

    def load(model_path, *args, **kwargs):
        return load_model(os.fspath(model_path), *args, **kwargs)

    utils.load_model = load

    def undo():
        utils.load_model = load_model

    return undo
