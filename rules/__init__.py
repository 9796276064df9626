"""What is known about failures: one YAML file a rule, its cases inside it."""
