"""What is watched and never trained on."""
