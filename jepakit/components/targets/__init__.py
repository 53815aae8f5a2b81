"""Target encoders V(θ̄, y): what the predictor has to hit; one kind a file."""
