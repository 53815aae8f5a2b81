"""Stable-Baselines3's DQN as a contestant (`benchmarks.peers.sb3`)."""

from benchmarks.peers.sb3 import dqn
from benchmarks.peers.settings import answer

if __name__ == "__main__":
    answer(dqn, __doc__)
