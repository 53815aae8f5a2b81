"""The table of all components, and how a class is registered in it."""

from jepakit.registry.slots import CONTEXT, SLOTS, BegunFields, CuriosityFields, EncoderFields, FreezableFields, Slot, TermFields
from jepakit.registry.table import FILE_MODULE, Component, build, component, component_of, components, forget, load_builtins, register

__all__ = [
    "CONTEXT",
    "FILE_MODULE",
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
    "component_of",
    "components",
    "forget",
    "load_builtins",
    "register",
]
