"""Projectors: heads between embeddings and the objective; one kind a file."""
