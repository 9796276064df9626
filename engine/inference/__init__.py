"""Forward chaining: rules in, activations out, on one of two engines."""
