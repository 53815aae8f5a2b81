"""Objectives: the distance between predicted and target embeddings; one kind a file."""
