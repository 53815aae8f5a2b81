"""The version, where all parts of jepakit can read it."""

__version__ = "0.1.0"
