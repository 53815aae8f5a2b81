"""Sources of minibatches: a rollout, or replay."""
