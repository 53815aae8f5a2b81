import math
from typing import Any

import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor, nn
from torchrl.data import Bounded, Categorical
from torchrl.envs.utils import ExplorationType, set_exploration_type

from jepakit.components.algorithms.dqn import DQN
from jepakit.protocols import ACTION, S_X

WIDTH, ACTIONS, ROWS = 6, 3, 24


def make(seed: int = 0, **fields: Any) -> DQN:
    """A DQN whose head weights are of order 1 and differ from the target network's."""
    torch.manual_seed(seed)
    dqn = DQN(WIDTH, Categorical(ACTIONS), nn.Linear(2, WIDTH), **{"hidden": (16,), "gamma": 0.8} | fields)
    with torch.no_grad():
        for parameter in dqn.loss.value_network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return dqn


def make_minibatch(rows: int = ROWS, spread: float = 2.0) -> TensorDict:
    terminated, truncated = torch.rand(rows, 1) < 0.3, torch.rand(rows, 1) < 0.3
    after = {S_X: torch.randn(rows, WIDTH), "reward": torch.randn(rows, 1) * spread, "terminated": terminated}
    return TensorDict(
        {
            S_X: torch.randn(rows, WIDTH, requires_grad=True),
            ACTION: torch.randint(ACTIONS, (rows,)),
            "steps_to_next_obs": torch.randint(1, 4, (rows, 1)),
            "next": after | {"done": terminated | truncated},
        },
        batch_size=[rows],
    )


def head(dqn: DQN, which: str, s_x: Tensor) -> Tensor:
    """Apply the online ("value") or target ("target_value") head to ``s_x``, layer by layer."""
    state = {name: tensor for name, tensor in dqn.state_dict(keep_vars=True).items() if f"loss.{which}_network_params" in name}

    def mlp(stream: str) -> Tensor:
        w0, b0, w1, b1 = (tensor for name, tensor in state.items() if f".{stream}." in name)
        return torch.relu(s_x @ w0.T + b0) @ w1.T + b1

    out = mlp("advantage")
    if not dqn.distributional:
        return out if dqn.loss.value_network.module[0].module.value is None else mlp("value") + out - out.mean(dim=-1, keepdim=True)
    out = out.unflatten(-1, (-1, ACTIONS))  # [B, atoms, n]
    if dqn.loss.value_network.module[0].module.value is not None:
        out = mlp("value")[..., None] + out - out.mean(dim=-1, keepdim=True)
    return out.log_softmax(dim=-2)


def expect(dqn: DQN, minibatch: TensorDictBase, loss: Tensor, error: list[float]) -> None:
    """Assert the loss, its gradients and the TD error of ``dqn`` for ``minibatch``."""
    terms, figures = dqn.losses(minibatch)
    assert terms.keys() == {"critic"}
    assert terms["critic"].weight == 1.0
    torch.testing.assert_close(terms["critic"].loss, loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(minibatch["td_error"], torch.tensor(error), rtol=1e-4, atol=1e-5)
    assert not minibatch["td_error"].requires_grad
    torch.testing.assert_close(figures["dqn/td_error"].item(), sum(error) / len(error), rtol=1e-4, atol=1e-5)
    leaves = [minibatch[S_X], *dqn.loss.value_network.parameters()]
    mine, reference = torch.autograd.grad(terms["critic"].loss, leaves), torch.autograd.grad(loss, leaves)
    for got, want in zip(mine, reference, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_loss_gradients_and_td_error_match_the_papers(double: bool, dueling: bool, weighted: bool) -> None:
    dqn = make(double=double, dueling=dueling, reward_scale=0.5)
    minibatch = make_minibatch()
    weight = torch.rand(ROWS) if weighted else torch.ones(ROWS)
    if weighted:
        minibatch["priority_weight"] = weight

    chosen, rows, differ = head(dqn, "value", minibatch[S_X]), [], 0
    for b in range(ROWS):
        after = minibatch["next"][b]
        online, target = head(dqn, "value", after[S_X]), head(dqn, "target_value", after[S_X])
        differ += int(online.argmax() != target.argmax())
        aim = 0.5 * after["reward"].item()
        if not after["terminated"]:
            aim += 0.8 ** minibatch["steps_to_next_obs"][b].item() * target[(online if double else target).argmax()].item()
        rows.append(chosen[b, minibatch[ACTION][b]] - aim)
    assert differ > 2  # otherwise `double` would make no difference
    huber = [0.5 * row**2 if abs(row) < 1 else abs(row) - 0.5 for row in rows]
    assert 0 < sum(bool(abs(row) < 1) for row in rows) < ROWS
    loss = sum(weight[b] * huber[b] for b in range(ROWS)) / ROWS
    expect(dqn, minibatch, loss, [abs(row.item()) for row in rows])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
def test_the_distributional_loss_is_the_cross_entropy_with_the_projected_target(dueling: bool, weighted: bool) -> None:
    v_min, v_max, atoms = -2.0, 3.0, 11
    dqn = make(distributional=True, dueling=dueling, atoms=atoms, v_min=v_min, v_max=v_max)
    minibatch = make_minibatch()
    minibatch["next", "reward"][:5] = torch.tensor([-2.0, 3.0, 0.5, -9.0, 9.0])[:, None]  # three on atoms, two outside the support
    minibatch["next", "terminated"][:5] = True
    weight = torch.rand(ROWS) if weighted else torch.ones(ROWS)
    if weighted:
        minibatch["priority_weight"] = weight

    step, rows, divergences, differ = (v_max - v_min) / (atoms - 1), [], [], 0
    z = [v_min + step * i for i in range(atoms)]
    log_p = head(dqn, "value", minibatch[S_X])
    for b in range(ROWS):
        after = minibatch["next"][b]
        online, target = head(dqn, "value", after[S_X]).exp(), head(dqn, "target_value", after[S_X]).exp()
        mean = [[sum(z[i] * p[i, a].item() for i in range(atoms)) for a in range(ACTIONS)] for p in (online, target)]
        best = max(range(ACTIONS), key=lambda a, q=mean[0]: q[a])
        differ += best != max(range(ACTIONS), key=lambda a, q=mean[1]: q[a])
        discount = 0.0 if after["terminated"] else 0.8 ** minibatch["steps_to_next_obs"][b].item()
        projected = [0.0] * atoms
        for j in range(atoms):
            moved = min(v_max, max(v_min, after["reward"].item() + discount * z[j]))
            for i in range(atoms):  # linear interpolation: a triangular kernel at each atom
                projected[i] += target[j, best].item() * max(0.0, 1 - abs(moved - z[i]) / step)
        assert sum(projected) == pytest.approx(1)
        rows.append(-sum(projected[i] * log_p[b, i, minibatch[ACTION][b]] for i in range(atoms)))
        divergences.append(rows[b].item() + sum(m * math.log(m) for m in projected if m))
    assert differ > 2
    loss = sum(weight[b] * rows[b] for b in range(ROWS)) / ROWS
    expect(dqn, minibatch, loss, divergences)


@pytest.mark.parametrize(("v_min", "v_max", "atoms"), [(-10.0, 25.0, 31), (-20.0, 0.7, 21), (-0.5, 0.7, 11), (0.0, 26.5, 51)])
def test_returns_outside_the_support_are_projected_to_its_ends(v_min: float, v_max: float, atoms: int) -> None:
    dqn = make(distributional=True, atoms=atoms, v_min=v_min, v_max=v_max)
    minibatch = make_minibatch(rows=4)
    minibatch["next", "terminated"][:] = True
    minibatch["next", "reward"] = torch.tensor([v_min, v_max, v_min - 1, v_max + 1])[:, None]
    log_p = head(dqn, "value", minibatch[S_X])
    ends = [log_p[b, end, minibatch[ACTION][b]] for b, end in enumerate((0, -1, 0, -1))]
    torch.testing.assert_close(dqn.losses(minibatch)[0]["critic"].loss, -torch.stack(ends).mean())


@pytest.mark.parametrize("fields", [{}, {"distributional": True}])
def test_the_loss_is_the_mean_of_the_losses_of_single_rows(fields: dict[str, Any]) -> None:
    dqn = make(**fields)
    minibatch = make_minibatch(rows=4)
    minibatch[ACTION][:] = torch.tensor([0, 1, 2, 1])
    together = dqn.losses(minibatch)[0]["critic"].loss
    one_by_one = [dqn.losses(minibatch[b : b + 1])[0]["critic"].loss for b in range(4)]
    torch.testing.assert_close(together, torch.stack(one_by_one).mean())


@pytest.mark.parametrize("fields", [{}, {"dueling": True}, {"distributional": True}])
def test_acting_is_epsilon_greedy(fields: dict[str, Any]) -> None:
    dqn = make(**fields, epsilon_start=0.6)
    s_x = TensorDict({S_X: torch.randn(1, WIDTH).expand(6000, WIDTH)}, batch_size=[6000])
    q = head(dqn, "value", s_x[S_X][0])
    best = (q if q.ndim == 1 else (q.exp() * torch.linspace(-10, 10, 51)[:, None]).sum(dim=0)).argmax()
    acted = dqn.policy_head()(s_x.clone())
    assert set(acted.keys()) == {S_X, ACTION}
    share = torch.bincount(acted[ACTION], minlength=ACTIONS) / 6000
    expected = torch.full((ACTIONS,), 0.6 / ACTIONS)
    expected[best] += 0.4
    torch.testing.assert_close(share, expected, atol=0.03, rtol=0)
    for mode in (ExplorationType.MODE, ExplorationType.DETERMINISTIC):
        with set_exploration_type(mode):
            assert (dqn.policy_head()(s_x.clone())[ACTION] == best).all()


def test_epsilon_decays_linearly_then_stays_constant() -> None:
    dqn = make(epsilon_start=0.9, epsilon_end=0.1, epsilon_decay=0.4)
    seen = []
    for progress in (0.0, 0.1, 0.2, 0.4, 0.7):
        dqn.anneal(progress)
        seen.append(dqn.losses(make_minibatch())[1]["dqn/epsilon"].item())
    assert seen == pytest.approx([0.9, 0.7, 0.5, 0.1, 0.1])


def test_the_values_of_a_chain_are_learned_by_bootstrapping() -> None:
    """Only the last of three states gives a reward, so the values are powers of γ."""
    torch.manual_seed(0)
    dqn = DQN(3, Categorical(2), nn.Identity(), gamma=0.5, n_step=1, hidden=(32,), target_decay=0.8)
    optimizer = torch.optim.Adam(dqn.parameters(), lr=2e-2)
    states = torch.eye(3)
    for _ in range(150):
        at, action = torch.randint(3, (32,)), torch.randint(2, (32,))
        ended = ((at == 2) & (action == 1))[:, None]  # action 1 moves on, action 0 stays
        after = {S_X: states[(at + action).clamp(max=2)], "reward": ended.float(), "terminated": ended, "done": ended}
        steps = {S_X: states[at], ACTION: action, "steps_to_next_obs": torch.ones(32, 1, dtype=torch.int64), "next": after}
        terms, _ = dqn.losses(TensorDict(steps, batch_size=[32]))
        optimizer.zero_grad()
        terms["critic"].loss.backward()
        optimizer.step()
        dqn.updated(nn.Identity())
    values = torch.tensor([[0.125, 0.25], [0.25, 0.5], [0.5, 1.0]])
    torch.testing.assert_close(head(dqn, "value", states), values, atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        (Bounded(-1, 1, (2,)), {}, r"^kind dqn needs discrete actions; this env's are torch.float32, which `sac` and `ppo` take$"),
        (Categorical(2), {"double": False, "distributional": True}, "^double false cannot go with distributional"),
        (Categorical(2), {"v_min": 1.0, "v_max": 1.0}, r"^v_min 1.0 is not below v_max 1.0$"),
        (Categorical(2), {"epsilon_start": 0.1, "epsilon_end": 0.2}, r"^epsilon_end 0.2 is above epsilon_start 0.1$"),
    ],
)
def test_unsupported_actions_and_invalid_fields_are_refused(spec: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DQN(WIDTH, spec, nn.Identity(), **fields)


@pytest.mark.parametrize("double", [False, True])
def test_values_and_targets_for_diagnostics_are_apart_by_the_td_error(double: bool) -> None:
    dqn, minibatch = make(double=double, dueling=True, reward_scale=0.5), make_minibatch()
    with torch.no_grad():
        values, targets = dqn.values_and_targets(minibatch)
    dqn.losses(minibatch)
    torch.testing.assert_close(values, head(dqn, "value", minibatch[S_X])[range(ROWS), minibatch[ACTION]].detach())
    torch.testing.assert_close((targets - values).abs(), minibatch["td_error"], rtol=1e-3, atol=1e-4)


def test_for_diagnostics_a_distribution_counts_as_its_mean() -> None:
    dqn, minibatch = make(distributional=True, atoms=11, v_min=-20.0, v_max=20.0), make_minibatch()
    with torch.no_grad():
        values, targets = dqn.values_and_targets(minibatch)
    support = torch.linspace(-20, 20, 11)
    online, target = (head(dqn, "value", minibatch["next", S_X]), head(dqn, "target_value", minibatch["next", S_X]))
    for row in range(ROWS):
        p = head(dqn, "value", minibatch[S_X])[row, :, minibatch[ACTION][row]].exp()
        assert values[row].item() == pytest.approx((p * support).sum().item(), rel=1e-3, abs=1e-3)
        best = (online[row].exp() * support[:, None]).sum(dim=0).argmax()
        after = (target[row, :, best].exp() * support).sum() * 0.8 ** minibatch["steps_to_next_obs"][row]
        expected = minibatch["next", "reward"][row] + (after if not minibatch["next", "terminated"][row] else 0)
        assert targets[row].item() == pytest.approx(expected.item(), rel=1e-3, abs=1e-3)


def test_the_policys_figures_say_whether_one_action_fits_all() -> None:
    dqn, minibatch = make(), make_minibatch()
    with torch.no_grad():
        found = dqn.policy_figures(minibatch)
        q = head(dqn, "value", minibatch[S_X])
    shares = [share for a in range(ACTIONS) if (share := (q.argmax(dim=-1) == a).float().mean().item())]
    assert found["greedy_entropy"].item() == pytest.approx(-sum(share * math.log(share) for share in shares), abs=1e-5)
    ordered = q.sort(dim=-1).values
    assert found["action_gap"].item() == pytest.approx((ordered[:, -1] - ordered[:, -2]).mean().item(), rel=1e-4)
    dqn.anneal(1.0)
    assert found["epsilon"].item() == 1.0  # a copy
