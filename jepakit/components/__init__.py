"""All that a recipe can choose: one folder a slot, one kind a file."""
