"""The panels of a report: one file each."""
