"""Writes recordings: of episodes that are played for it, or of a run's replay."""
