"""State probes: what of a simulator's true state can be read off the embedding."""
