"""Auxiliary terms: further losses on the embeddings, joined to Eq. 3; one kind a file."""
