"""Curiosities: how surprising a step was, which is added to its reward; one kind a file."""
