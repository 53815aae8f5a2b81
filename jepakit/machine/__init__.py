"""The machine that a run is on: device, precision, threads, memory, signals, random number generators."""
