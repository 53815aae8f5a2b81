"""Encoders V(θ, x): stacks of frames to embeddings; one kind a file."""
