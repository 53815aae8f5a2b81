"""What a collector and its workers get of a run."""
