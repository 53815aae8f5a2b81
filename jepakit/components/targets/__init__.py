"""Target encoders V(θ̄, y), whose embeddings the predictor predicts; one kind a file."""
