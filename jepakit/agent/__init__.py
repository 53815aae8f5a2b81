"""A trained agent, put to use."""
