import torch

from jepakit.components.shared.min_max import min_max


def test_each_row_is_stretched_from_0_to_1() -> None:
    s = torch.tensor([[1.0, 3.0, 2.0], [-4.0, 0.0, 4.0]])
    torch.testing.assert_close(min_max(s), torch.tensor([[0.0, 1.0, 0.5], [0.0, 0.5, 1.0]]))
    torch.testing.assert_close(min_max(s[:, None]), min_max(s)[:, None])


def test_a_row_of_equal_entries_is_zeros_with_finite_gradients() -> None:
    s = torch.full((2, 3), 7.0, requires_grad=True)
    assert not min_max(s).any()
    min_max(s).sum().backward()
    assert s.grad is not None
    assert s.grad.isfinite().all()


def test_half_precision_is_computed_in_fp32() -> None:
    s = torch.rand(4, 9).bfloat16()
    assert torch.equal(min_max(s), min_max(s.float()))
