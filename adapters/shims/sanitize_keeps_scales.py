"""Scales and biases of packed weights survive sanitize: several families drop what they do not know.

mlx-audio quantises the layers that have scales, so without them a packed weight meets a plain layer.
mlx-audio of all releases with ``mlx_audio.utils.apply_quantization``.
"""


def install():
    from mlx_audio import utils

    load_weights = utils.load_weights
    apply_quantization = utils.apply_quantization
    stored = {}

    def load(*args, **kwargs):
        weights = load_weights(*args, **kwargs)
        stored.clear()
        stored.update(weights)
        return weights

    def apply(model, config, weights, *args, **kwargs):
        # A weight that sanitize only renamed is the same array still, which tells its old name.
        names = {id(array): name for name, array in stored.items()}
        for name in list(weights):
            old = names.get(id(weights[name]), name)
            if not name.endswith(".weight") or not old.endswith(".weight"):
                continue
            for ending in ("scales", "biases"):
                kept = stored.get(old[: -len("weight")] + ending)
                if kept is not None:
                    weights.setdefault(name[: -len("weight")] + ending, kept)
        return apply_quantization(model, config, weights, *args, **kwargs)

    utils.load_weights, utils.apply_quantization = load, apply

    def undo():
        utils.load_weights = load_weights
        utils.apply_quantization = apply_quantization

    return undo
