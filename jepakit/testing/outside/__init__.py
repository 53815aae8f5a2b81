"""The rules for what stands around training: collectors, sinks and engines."""
