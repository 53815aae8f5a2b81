"""Simulators in processes of their own, so that several are stepped and drawn at once."""
