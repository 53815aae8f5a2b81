"""A plan for 1,000 GPUs and a billion frames."""
