"""Other tools that show a run's metrics; one file a kind."""
