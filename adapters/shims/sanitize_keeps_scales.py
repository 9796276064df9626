"""Packed weights survive sanitize as they are stored, with their scales and biases.

sanitize of several families drops what the model, which is not quantised yet, has no place for, and
transposes weights whose shape is another. mlx-audio quantises the layers that have scales, so without them a
packed weight meets a plain layer (VibeVoice before 0.4.2, KugelAudio). mlx-audio of all releases with
``mlx_audio.utils.apply_quantization``.
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
        # What sanitize only renamed is the same array still, which tells the new name of a layer.
        names = {id(array): name for name, array in weights.items()}
        for scales in [name for name in stored if name.endswith(".scales")]:
            layer = scales[: -len("scales")]
            parts = {}
            for part in ("weight", "scales", "biases"):
                if layer + part in stored:
                    parts[part] = stored[layer + part]
            renamed = [names.get(id(array)) for array in parts.values()]
            now = next((name for name in renamed if name is not None), scales)
            to = now[: now.rindex(".") + 1]
            made, packed = weights.get(to + "weight"), parts.pop("weight", None)
            if made is None or packed is None:
                continue
            same_axes = sorted(made.shape) == sorted(packed.shape)
            if made.dtype != packed.dtype or not same_axes:
                continue
            weights[to + "weight"] = packed
            for part, array in parts.items():
                weights.setdefault(to + part, array)
        return apply_quantization(model, config, weights, *args, **kwargs)

    utils.load_weights, utils.apply_quantization = load, apply

    def undo():
        utils.load_weights = load_weights
        utils.apply_quantization = apply_quantization

    return undo
