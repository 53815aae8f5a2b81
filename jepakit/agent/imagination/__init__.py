"""What a run's predictor expects k steps ahead, beside what happens."""
