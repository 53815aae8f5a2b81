"""The rules shared by all slots: determinism, copies, state_dict, devices, gradients, unchanged inputs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from jepakit.storage.unsaved import changed, plain_state, unsaved
from jepakit.testing.rules import Output, Rules, expect, expect_same, flat

Inputs = Mapping[str, Tensor]
Call = Callable[[Any, Inputs], Output]
Make = Callable[..., Any]  #: ``make(seed)`` builds the component with initial weights drawn from ``seed``


def in_order(component: Any, inputs: Inputs) -> Output:
    """Call a component with its inputs by position."""
    return component(*inputs.values())


def by_name(component: Any, inputs: Inputs) -> Output:
    """Call a component with its inputs by name."""
    return component(**inputs)


def check_module(rules: Rules, make: Make, call: Call, inputs: Inputs, others: Collection[object] = ()) -> None:
    """Rules ``inputs``, ``deepcopy``, ``determinism``, ``state_dict`` and ``devices``; ``others`` are trained and saved elsewhere."""
    component = make(0)
    with rules.rule("state_dict", "derive from torch.nn.Module, keep layers in attributes or an nn.ModuleList, and let none be lazy"):
        lost = unsaved(component, others, may_be_lazy=True)  # by now an encoder has been called
        expect(not lost, lost)
    with rules.rule("inputs", "others read the same tensors: do not change them in place (no `x += 1`, no `x.add_(1)`)"):
        given = {name: tensor.clone() for name, tensor in inputs.items()}
        _seeded(call, make(0), given)
        changed = [name for name, tensor in given.items() if not torch.equal(tensor, inputs[name])]
        expect(not changed, f"it changes its input `{changed[0] if changed else ''}`")
    with rules.rule("deepcopy", "copy.deepcopy must work: keep no handles, and no lambdas that hold `self`, in attributes"):
        _seeded(call, copy.deepcopy(component), inputs)
    if "deepcopy" in rules.broken:
        return
    with rules.rule("determinism", "draw from torch's global generator only (not from random, numpy or the clock)"):
        # Two copies, because a component may count its calls: both start from the same state and seed.
        once, again = (_seeded(call, copy.deepcopy(component), inputs) for _ in range(2))
        expect_same("two outputs with the same torch seed", once, again)
    if isinstance(component, nn.Module):
        _check_state(rules, make, call, inputs)
        _check_own_weights(rules, component, call, inputs)
    if isinstance(component, nn.Module) and "deepcopy" not in rules.broken:
        _check_devices(rules, component, call, inputs)


def check_gradients(
    rules: Rules, make: Make, call: Call, inputs: Inputs, wanted: Collection[str], scales: Collection[float] = (1.0,)
) -> None:
    """Rule ``gradients``: at one of the ``scales``, gradients reach some input in ``wanted`` and every trained parameter."""
    advice = "use no detach, no_grad, .item() or argmax; freeze parameters that should not be trained with requires_grad_(False)"
    with rules.rule("gradients", advice):
        component = make(0)
        shake(component)  # a last layer may start at zero, which blocks gradients
        leaves = {name: inputs[name].clone().requires_grad_() for name in wanted}
        trained = {name: p for name, p in parameters_of(component) if p.requires_grad}
        for scale in scales:
            others = {name: tensor.clone() for name, tensor in inputs.items()}
            output = flat(call(component, {**others, **{name: scale * leaf for name, leaf in leaves.items()}}))
            loss = torch.stack(
                [(tensor * torch.randn_like(tensor)).sum() for tensor in output.values() if tensor.is_floating_point()]
            ).sum()
            if leaves or trained:
                expect(loss.requires_grad, "the output has no gradient at all")
                loss.backward()
        reached = [name for name, leaf in leaves.items() if leaf.grad is not None and leaf.grad.any()]
        expect(reached or not wanted, f"no gradient reaches {' or '.join(f'`{name}`' for name in wanted)}")
        missed = [name for name, parameter in trained.items() if parameter.grad is None]
        expect(not missed, f"no gradient reaches the parameter {', '.join(f'`{name}`' for name in missed[:3])}")
        of = {**leaves, **trained}
        bad = [name for name, tensor in of.items() if tensor.grad is not None and not tensor.grad.isfinite().all()]
        expect(not bad, f"the gradient of `{bad[0] if bad else ''}` is not finite")


@torch.no_grad()
def shake(component: Any) -> None:
    """Change every parameter slightly, as training does."""
    for _, parameter in parameters_of(component):
        parameter.add_(torch.randn_like(parameter), alpha=0.1)


def parameters_of(component: Any) -> Iterator[tuple[str, nn.Parameter]]:
    """The floating-point parameters by name; none if the component is not a module."""
    if isinstance(component, nn.Module):
        yield from ((name, p) for name, p in component.named_parameters() if p.is_floating_point())


def _seeded(call: Call, component: Any, inputs: Inputs) -> Output:
    torch.manual_seed(1)
    return call(component, inputs)


def _check_own_weights(rules: Rules, component: nn.Module, call: Call, inputs: Inputs) -> None:
    with rules.rule("deepcopy", "a function stored in an attribute still uses the original: call `self.layer` in forward instead"):
        other = copy.deepcopy(component)
        shake(other)
        if any(parameters_of(component)):
            before, after = (flat(_seeded(call, module, inputs)) for module in (copy.deepcopy(component), other))
            changed = any(not torch.equal(tensor, after[name]) for name, tensor in before.items())
            expect(changed, "a copy with other weights returns the outputs of the original")


def _check_state(rules: Rules, make: Make, call: Call, inputs: Inputs) -> None:
    advice = (
        "everything that changes or is drawn at random must be a parameter, a registered buffer or a submodule: checkpoints hold only those"
    )
    with rules.rule("state_dict", advice):
        used = make(0)
        states = [plain_state(used)]
        for _ in range(2):
            _seeded(call, used, inputs)
            states.append(plain_state(used))
        counted = dict.fromkeys(name for before, after in itertools.pairwise(states) for name in changed(before, after))
        expect(not counted, f"its attribute `{', '.join(counted)}` changes with use but is not a buffer")
        shake(used)
        restored = make(2)
        restored.load_state_dict(used.state_dict())
        what = "outputs of a component and of a second one with its state_dict"
        expect_same(what, *(_seeded(call, module, inputs) for module in (used, restored)))


def _check_devices(rules: Rules, component: nn.Module, call: Call, inputs: Inputs) -> None:
    advice = "register tensors with register_buffer, and create new ones on the input's device (torch.zeros(n, device=s_x.device))"
    with rules.rule("devices", advice):
        left = next(_unregistered(component), None)
        expect(left is None, f"the tensor `{left}` is neither parameter nor buffer: it stays behind when the component moves")
        # The meta device computes only shapes. It needs no GPU, and reveals most tensors that stay on the CPU.
        for device in ("meta", "cuda") if torch.cuda.is_available() else ("meta",):
            try:
                output = call(copy.deepcopy(component).to(device), {name: tensor.to(device) for name, tensor in inputs.items()})
            except Exception as error:
                if device == "cuda" or "on device" in str(error) or "same device" in str(error):
                    raise
            else:
                for tensor in flat(output).values():
                    expect(tensor.device.type == device, f"moved to {device}, it returns a tensor on {tensor.device.type}")


def _unregistered(component: nn.Module) -> Iterator[str]:
    """Names of tensors that ``.to(device)`` does not move."""
    known = {id(tensor) for tensor in (*component.parameters(), *component.buffers())}
    for path, module in component.named_modules():
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers", "_modules"):
                continue
            held = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else (value,)
            if any(isinstance(tensor, Tensor) and id(tensor) not in known for tensor in held):
                yield f"{path}.{name}".lstrip(".")
