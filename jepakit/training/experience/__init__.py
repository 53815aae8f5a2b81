"""Where minibatches come from: a rollout, or replay."""
