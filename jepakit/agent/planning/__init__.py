"""Acting by planning in the latent space."""
