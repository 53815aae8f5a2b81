"""A run's files: how they are written, and read again."""
