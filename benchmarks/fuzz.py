"""Feeds thousands of bad recipes, overrides, plug-ins and run folders: none may cause a traceback or a hang, and each error names a place.

    nice python benchmarks/fuzz.py --count 20000 --jobs 2 --json docs/results/fuzz.json    # half an hour on two cores
    python benchmarks/fuzz.py --only 4711                                                  # repeat one input and print its output

``tests/fuzz`` generates each input from ``--seed`` and its number. The test suite runs a few hundred of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fuzz import campaign

if __name__ == "__main__":
    sys.exit(campaign.main())
