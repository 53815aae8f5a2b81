"""The rules for what stands around training: sinks and engines."""
