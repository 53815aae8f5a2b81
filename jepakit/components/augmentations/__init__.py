"""Augmentations of stacks before they are encoded for an update; one kind a file."""
