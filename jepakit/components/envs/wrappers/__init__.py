"""What stands between a simulator and the agent, as published protocols want it; one Gymnasium wrapper a file.

A wrapper draws random numbers from the simulator's own ``np_random`` alone, and has no state of its own that the step after the next reset
or step still needs: that way a restored simulator goes on exactly, by replayed actions or by its own saved state.
"""
