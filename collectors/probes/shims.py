"""Stand-ins that let a load go on past a limit of this machine, so that what lies behind it is seen."""

from __future__ import annotations

from typing import Any, Callable


def stub_metal_kernels() -> None:
    """Let modules that build a Metal kernel while being imported be imported without Metal.

    mlx-audio before 0.6.0 builds one in ``codec/models/encodec/encodec.py``; the kernel itself
    still fails when it is called.
    """
    import mlx.core as mx

    def metal_kernel(*_: Any, **__: Any) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> Any:
            raise RuntimeError("[metal_kernel] No Metal back-end.")

        return call

    mx.fast.metal_kernel = metal_kernel
