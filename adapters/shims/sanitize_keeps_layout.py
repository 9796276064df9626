"""Tensors that are in MLX's layout already keep it: sanitize of several families transposes them once more.

What sanitize made of a tensor is replaced by the tensor as it is stored, where that has the shape that
the model wants and the other has not. mlx-audio of all releases with ``mlx_audio.utils.apply_quantization``.
"""


def install():
    from mlx.utils import tree_flatten
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
        expected = dict(tree_flatten(model.parameters()))
        moved, square = {}, {}
        for name, kept in stored.items():
            given = weights.get(name)
            if given is None or name not in expected:
                continue
            if kept.shape != expected[name].shape:
                continue
            same_axes = sorted(given.shape) == sorted(kept.shape)
            if given.shape != kept.shape and same_axes:
                moved[name] = kept
            elif given.shape == kept.shape and kept.ndim > 2:
                square[name] = kept
        if moved:
            # Where axes are of one length the shape does not tell: they went the same way.
            weights.update(moved)
            weights.update(square)
        return apply_quantization(model, config, weights, *args, **kwargs)

    utils.load_weights, utils.apply_quantization = load, apply

    def undo():
        utils.load_weights = load_weights
        utils.apply_quantization = apply_quantization

    return undo
