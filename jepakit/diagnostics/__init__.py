"""Diagnostics: quantities that are monitored and never trained on."""
