"""Sweeps: which runs there are, what is known of each, running them, showing how they are."""
