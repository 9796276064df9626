"""What is known about models: aliases, families, components, known-good configurations, schemas."""
