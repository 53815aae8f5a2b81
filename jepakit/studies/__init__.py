"""Whole studies in one command, from data to a verdict."""
