"""Regularizers: losses on s_x that keep it from collapsing; one kind a file."""
