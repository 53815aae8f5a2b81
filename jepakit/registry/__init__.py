"""The table of all components, and how a class is registered in it."""

from jepakit.registry.slots import CONTEXT, SLOTS, BegunFields, CuriosityFields, EncoderFields, FreezableFields, Slot, TermFields
from jepakit.registry.table import Component, build, component, components, forget, load_builtins, register

__all__ = [
    "CONTEXT",
    "SLOTS",
    "BegunFields",
    "Component",
    "CuriosityFields",
    "EncoderFields",
    "FreezableFields",
    "Slot",
    "TermFields",
    "build",
    "component",
    "components",
    "forget",
    "load_builtins",
    "register",
]
