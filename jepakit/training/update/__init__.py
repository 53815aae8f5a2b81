"""What one update of the learner needs: augmented views of stacks, and a learning rate for every part."""
