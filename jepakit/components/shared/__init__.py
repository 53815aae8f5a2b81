"""Code shared by components of several slots."""
