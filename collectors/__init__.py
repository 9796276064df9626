"""What looks: one module a subject. A collector reports facts and never judges."""
