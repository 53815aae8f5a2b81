"""Using a trained agent: evaluation, and its encoder."""
