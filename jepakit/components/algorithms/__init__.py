"""RL algorithms: heads on s_x, their losses, and where minibatches come from; one kind a file."""
