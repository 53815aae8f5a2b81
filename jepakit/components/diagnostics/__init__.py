"""Diagnostics: figures about what has been learned, on which nothing is trained. The collapse watch, which can stop a run, is always on."""
