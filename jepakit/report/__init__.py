"""Reports on runs: reading them, statistics over seeds, figures and tables."""
