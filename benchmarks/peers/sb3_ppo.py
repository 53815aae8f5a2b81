"""Stable-Baselines3's PPO as a contestant (`benchmarks.peers.sb3`)."""

from benchmarks.peers.sb3 import ppo
from benchmarks.peers.settings import answer

if __name__ == "__main__":
    answer(ppo, __doc__)
