"""Recorded data in place of an env."""
