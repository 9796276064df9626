"""Forward chaining: rules in, activations out, on one of two engines."""

from mlx_diagnose.engine.inference.engines import ENGINES, available_engines
from mlx_diagnose.engine.inference.run import Inference, infer

__all__ = ["ENGINES", "Inference", "available_engines", "infer"]
