"""The machine that runs jepakit: device, precision, threads, memory, signals, random number generators."""
