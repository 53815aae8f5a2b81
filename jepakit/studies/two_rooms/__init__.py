"""Goal-reaching in two rooms: offline data, a JEPA without reward, planning to goals that it has not seen."""
