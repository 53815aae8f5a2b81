"""The tests that `jepakit new` writes beside a component."""
