"""A point in two rooms with one door between them, which has to reach a place in the other room."""
