import pytest
import torch
from torchrl.data import Bounded, Categorical

from jepakit.components.predictors.actions import Actions


@pytest.mark.parametrize("leading", [(5,), (4, 3)])
def test_discrete_actions_become_one_hot(leading: tuple[int, ...]) -> None:
    actions = Actions(Categorical(4))
    action = torch.randint(0, 4, leading)

    vectors = actions.vectors(action, torch.float64)

    assert actions.width == 4
    assert vectors.dtype == torch.float64
    assert vectors.shape == (*leading, 4)
    for row, chosen in zip(vectors.flatten(0, -2).tolist(), action.flatten().tolist(), strict=True):
        assert row == [float(i == chosen) for i in range(4)]


def test_continuous_actions_keep_their_values() -> None:
    actions = Actions(Bounded(-2, 2, (3,)))
    action = torch.rand(5, 2, 3, dtype=torch.float64)
    assert actions.width == 3
    assert torch.equal(actions.vectors(action, torch.float32), action.float())
