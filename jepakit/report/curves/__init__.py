"""The curves of a single run: every number that it recorded, as an image or in a terminal."""
