"""Predictors: s_x and the action to the next embedding; one kind a file."""
