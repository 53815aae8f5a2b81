"""Bad recipes, overrides, plug-ins and run folders by the thousand: none may end in a traceback or a hang, and each message names a place.

    nice python benchmarks/fuzz.py --count 20000 --jobs 2 --json docs/results/fuzz.json    # half an hour on two cores
    python benchmarks/fuzz.py --only 4711                                                  # one input again, with what it prints

The inputs are those of ``tests/fuzz``, a few hundred of which are part of the test suite. Each is made from ``--seed`` and its number.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fuzz import campaign

if __name__ == "__main__":
    sys.exit(campaign.main())
