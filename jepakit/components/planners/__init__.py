"""Planners: the search for a sequence of actions that the predictor's roll-outs judge to be good; one kind a file."""
