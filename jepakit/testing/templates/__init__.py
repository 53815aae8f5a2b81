"""The files that `jepakit new` writes: for each slot a working component and its test.

Here they have the names ``my_component`` and ``MyComponent``. They are not built-in kinds: nothing imports them.
"""
