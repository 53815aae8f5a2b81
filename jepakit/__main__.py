"""``python -m jepakit`` is ``jepakit``."""

from jepakit.cli.app import main

main()
