import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lightning_genmodels import GenmodelsError
from lightning_genmodels.metrics import probe_codes


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(n=300, distance=1.0, seed=1):
    """Codes of three classes around three corners, one entry ten times as wide as the other."""
    labels = torch.arange(n) % 3
    centres = torch.tensor([[0.0, 0.0], [distance, 0.0], [0.0, distance]])
    codes = centres[labels] + 0.5 * torch.randn(n, 2, generator=seeded(seed))
    return codes * torch.tensor([10.0, 1.0]), labels


def nearest_error(train_codes, train_labels, codes, labels, neighbours):
    """By hand: the commonest class among the nearest; of equally common ones the smallest, as scikit-learn has it."""
    near = torch.cdist(codes.double(), train_codes.double()).argsort(1)[:, :neighbours]
    votes = [np.bincount(train_labels[row].numpy()).argmax() for row in near]
    return (torch.tensor(votes) != labels).double().mean().item()


def logistic_error(train_codes, train_labels, codes, labels, inverse_penalty):
    """By hand: C times the summed cross-entropy plus half the squared weights, minimised."""
    weight, bias = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.LBFGS(parameters, max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        entropy = torch.nn.functional.cross_entropy(train_codes.double() @ weight + bias, train_labels, reduction="sum")
        loss = inverse_penalty * entropy + 0.5 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return ((codes.double() @ weight + bias).argmax(1) != labels).double().mean().item()


def test_classes_far_apart_are_told_without_an_error():
    assert probe_codes(*blobs(distance=20.0), *blobs(distance=20.0, seed=2)) == {"logistic": 0, "knn": 0}


def test_codes_that_say_nothing_of_the_classes_leave_chance():
    codes = torch.randn(3000, 4, generator=seeded())
    labels = torch.randint(4, (3000,), generator=seeded(1))
    errors = probe_codes(codes[:1000], labels[:1000], codes[1000:], labels[1000:])
    # 3/4, with a standard deviation of .01 over 2000 answers.
    assert errors == {"logistic": pytest.approx(0.75, abs=0.04), "knn": pytest.approx(0.75, abs=0.04)}


def test_errors_are_shares_of_wrong_answers():
    codes = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    labels = torch.tensor([7, 7, 9, 9])  # classes need not count from 0
    wrong = torch.tensor([7, 7, 7, 9])
    assert probe_codes(codes, labels, codes, wrong, neighbours=1) == {"logistic": 0.25, "knn": 0.25}


@pytest.mark.parametrize("factor", [2.0**-30, 2.0**30])
def test_the_scale_of_all_codes_does_not_matter(factor):
    (train, train_labels), (codes, labels) = blobs(), blobs(seed=2)
    for inverse_penalty in (1e-3, 1.0):
        options = {"inverse_penalty": inverse_penalty}
        plain = probe_codes(train, train_labels, codes, labels, **options)
        assert probe_codes(factor * train, train_labels, factor * codes, labels, **options) == plain
        assert 0 < plain["logistic"] < 0.6


def test_the_scale_is_the_training_codes_and_not_one_for_each_entry():
    (train, train_labels), (codes, labels) = blobs(), blobs(seed=2)
    alone = [probe_codes(train, train_labels, c[None], y[None]) for c, y in zip(codes[:30], labels[:30], strict=True)]
    together = probe_codes(train, train_labels, codes[:30], labels[:30])
    for name, error in together.items():
        assert sum(errors[name] for errors in alone) / 30 == pytest.approx(error)
    # Divided entry by entry, the second would count as much as the first.
    evened = [c / train.std(0) for c in (train, codes)]
    assert nearest_error(evened[0], train_labels, evened[1], labels, 5) < nearest_error(
        train, train_labels, codes, labels, 5
    )
    assert probe_codes(train, train_labels, codes, labels)["knn"] == pytest.approx(
        nearest_error(train, train_labels, codes, labels, 5)
    )


def test_what_all_codes_have_in_common_does_not_matter():
    (train, train_labels), (codes, labels) = blobs(), blobs(seed=2)
    plain = probe_codes(train, train_labels, codes, labels)
    # The spread of codes that have all but collapsed: L-BFGS would not get there from 0.
    offset = 2.0**12 * torch.ones(2)
    assert probe_codes(train + offset, train_labels, codes + offset, labels) == pytest.approx(plain, abs=1.5 / 300)


@pytest.mark.parametrize("neighbours", [1, 3, 8])
def test_the_nearest_neighbours_are_those_found_by_hand(neighbours):
    arguments = (*blobs(), *blobs(seed=2))
    assert probe_codes(*arguments, neighbours=neighbours)["knn"] == pytest.approx(nearest_error(*arguments, neighbours))


def test_the_logistic_regression_is_the_minimum_found_by_hand():
    (train, train_labels), (codes, labels) = blobs(), blobs(seed=2)
    scale = train.std(0).mean()
    found = []
    for inverse_penalty in (1e-4, 1e-2, 1.0):
        errors = probe_codes(train, train_labels, codes, labels, inverse_penalty=inverse_penalty)
        moved = ((c - train.mean(0)) / scale for c in (train, codes))
        expected = logistic_error(next(moved), train_labels, next(moved), labels, inverse_penalty)
        assert errors["logistic"] == pytest.approx(expected, abs=1.5 / 300)  # a point on the border may change sides
        found.append(errors["logistic"])
    assert found[0] > found[-1] + 0.02  # the penalty matters here


def test_the_steps_of_the_logistic_regression_are_limited_without_a_warning(recwarn):
    (train, train_labels), (codes, labels) = blobs(), blobs(seed=2)
    x, points = (((c - train.mean(0)) / train.std(0).mean()).numpy() for c in (train, codes))
    error = probe_codes(train, train_labels, codes, labels, max_iter=1, inverse_penalty=100.0)["logistic"]
    assert not recwarn.list
    by_hand = LogisticRegression(C=100.0, max_iter=1).fit(x, train_labels.numpy())
    assert recwarn.list  # so it had stopped early
    assert error == pytest.approx(1 - by_hand.score(points, labels.numpy()))


def test_no_neighbours_leave_the_second_classifier_out():
    arguments = (*blobs(), *blobs(seed=2))
    assert probe_codes(*arguments, neighbours=0) == {"logistic": probe_codes(*arguments)["logistic"]}


def test_as_many_training_codes_as_neighbours_suffice():
    codes, labels = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([0, 1, 1])
    assert probe_codes(codes, labels, codes, labels, neighbours=3)["knn"] == pytest.approx(
        1 / 3
    )  # all are said to be 1


def test_codes_in_half_precision_are_taken_as_they_are():
    (train, train_labels), (codes, labels) = blobs(), blobs(seed=2)
    halved = [c.to(torch.bfloat16) for c in (train, codes)]
    expected = probe_codes(halved[0].float(), train_labels, halved[1].float(), labels)
    assert probe_codes(halved[0], train_labels, halved[1], labels) == expected


def test_codes_that_are_all_alike_are_no_division_by_zero():
    labels = torch.tensor([0, 1, 1, 1, 1, 1])
    assert probe_codes(torch.ones(6, 3), labels, torch.ones(2, 3), labels[:2])["logistic"] == 0.5


@pytest.mark.parametrize(
    ("labels", "neighbours", "found"),
    [
        ([3, 3, 3, 3], 2, r"4 training codes of 1 class\(es\); expected 2 codes"),
        ([0, 1, 0, 1], 5, r"4 training codes of 2 class\(es\); expected 5 codes"),
        ([], 5, r"0 training codes of 0 class\(es\); expected 5 codes"),
    ],
)
def test_too_few_codes_or_classes_are_named(labels, neighbours, found):
    labels = torch.tensor(labels, dtype=torch.int64)
    codes = torch.randn(len(labels), 2)
    with pytest.raises(GenmodelsError, match=f"^probe: {found} or more, of at least 2 classes\\.$"):
        probe_codes(codes, labels, codes, labels, neighbours=neighbours)
