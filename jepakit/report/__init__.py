"""What runs add up to: reading them, statistics over seeds, figures and tables."""
