"""Where the policy acts: in the run's own process, or in workers."""
