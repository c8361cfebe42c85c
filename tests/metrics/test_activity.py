import numpy as np
import pytest
import torch

from lightning_genmodels.metrics import UnitActivity


def codes(n=50, units=6):
    values = torch.randn(n, units, generator=torch.Generator().manual_seed(0))
    values[:, 0] = 0  # dead
    values[1:, 1] = 0  # used once
    values[:, 2] = 0.25  # always the same
    values[::2, 3] = 0
    return values


def activity(*parts):
    metric = UnitActivity(parts[0].shape[1])
    for part in parts:
        metric.update(part)
    return metric


def assert_is_numpys(found, values):
    values = values.double().numpy()
    expected = {"mean": values.mean(0), "std": values.std(0), "used": (values != 0).mean(0)}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("sizes", [(50,), (30, 19, 1), (1, 49)])
def test_mean_spread_and_use_over_unequal_batches_are_those_of_all_images(sizes):
    assert_is_numpys(activity(*codes().split(sizes)).compute(), codes())


def test_negative_values_are_in_use_and_zeros_are_not():
    found = activity(torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 0.0]])).compute()
    assert found["used"].tolist() == [1, 0, 0.5]


def test_small_spread_about_a_large_mean_is_not_lost():
    values = 1000 + 0.01 * torch.randn(2000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    np.testing.assert_allclose(activity(values).compute()["std"].numpy(), values.numpy().std(0), rtol=1e-3)


def test_spread_of_a_constant_is_0_and_no_root_of_a_negative_number():
    values = torch.linspace(0.1, 0.9, 40).expand(333, 40)
    torch.testing.assert_close(activity(*values.split(7)).compute()["std"], torch.zeros(40), rtol=0, atol=1e-6)


def test_reset_forgets_the_images_before():
    metric = activity(100 + codes())
    metric.reset()
    metric.update(codes())
    assert_is_numpys(metric.compute(), codes())


def test_shares_of_two_processes_make_the_figures_of_all_images():
    one, other = activity(codes()[:37]), activity(codes()[37:])
    for name in ("images", "mean", "deviations", "nonzero"):  # as gathering from two processes leaves them
        setattr(one, name, torch.stack([getattr(one, name), getattr(other, name)]))
    assert_is_numpys(one.compute(), codes())
