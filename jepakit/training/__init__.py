"""From a recipe to a trained agent: build, learner, experience, loop, checkpoint, run folder."""
