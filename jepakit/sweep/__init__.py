"""Sweeps: plan the runs, find the ones that exist, run the rest, show their progress."""
