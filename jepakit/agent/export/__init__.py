"""Exports a trained policy and encoder to files that need no jepakit."""
