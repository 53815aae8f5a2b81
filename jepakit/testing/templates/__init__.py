"""What `jepakit new` writes: for each slot a component and its test, which work as they stand.

They stand here under the names ``my_component`` and ``MyComponent``, and are no built-in kinds: nothing imports them.
"""
