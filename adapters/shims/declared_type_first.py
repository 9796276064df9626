"""The model type of config.json counts, and not a part of the name of the directory or repository.

mlx-audio looks for families and mapped types among the parts of the name, and takes what it finds before
what config.json declares, unless that is a mapped type itself (``mlx_audio/utils.py::get_model_class``).
"""


def install():
    import inspect
    import os

    import mlx_audio
    from mlx_audio import utils

    get_model_class = utils.get_model_class
    signature = inspect.signature(get_model_class)

    def get(*args, **kwargs):
        given = signature.bind(*args, **kwargs)
        asked = given.arguments.get("model_type")
        category = given.arguments.get("category", "tts")
        remapping = given.arguments.get("model_remapping") or {}
        family = remapping.get(asked, asked)
        if isinstance(family, str):
            package = next(iter(mlx_audio.__path__))
            if os.path.isdir(os.path.join(package, category, "models", family)):
                given.arguments["model_type"] = family
                given.arguments["model_name"] = [family]
        return get_model_class(*given.args, **given.kwargs)

    utils.get_model_class = get

    def undo():
        utils.get_model_class = get_model_class

    return undo
