"""Atari 2600 games on the Arcade Learning Environment (ALE), which is an optional extra: nothing here imports it before a game is made."""
