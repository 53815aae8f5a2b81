"""Auxiliary terms: further losses on the embeddings, added to Eq. 3; one kind a file."""
