"""A live view of all runs in a folder."""
