"""The files of others, read safely; our own, written as a whole or not at all."""
