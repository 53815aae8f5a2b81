"""The conformance kit: one call lists the rules of its slot that a component breaks, and how to fix each. It does not need pytest.

from jepakit.testing import check_component

check_component("encoder", MyCNN, width=16)
"""

from jepakit.testing.component import check_component
from jepakit.testing.loading import load_file
from jepakit.testing.rules import NonConformant
from jepakit.testing.settings import FRAME_SHAPES

__all__ = ["FRAME_SHAPES", "NonConformant", "check_component", "load_file"]
