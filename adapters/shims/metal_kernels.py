"""Modules that build a Metal kernel while they are imported are imported without Metal.

mlx-audio before 0.6.0 builds one in ``codec/models/encodec/encodec.py``; the kernel itself still
fails when it is called.
"""


def install():
    import mlx.core as mx

    original = mx.fast.metal_kernel

    def metal_kernel(*_, **__):
        def call(*_, **__):
            raise RuntimeError("[metal_kernel] No Metal back-end.")

        return call

    mx.fast.metal_kernel = metal_kernel

    def undo():
        mx.fast.metal_kernel = original

    return undo
