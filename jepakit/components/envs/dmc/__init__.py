"""The DeepMind Control Suite, its frames drawn by OpenGL without a screen."""
