"""A search over a recipe's values: what may vary, which trial is next, which is stopped early, and what came out."""
