import pytest
import torch

from lightning_genmodels.editing import (
    attribute_accuracy,
    attribute_logits,
    label_thresholds,
    train_classifier,
)
from lightning_genmodels.errors import GenmodelsError

NAMES = ("bright", "left")
SHAPE = (1, 16, 16)


def squares(n, seed, size=16):
    """Grey images, bright or dark, with a spot on the left or the right: (n, 1, size, size), and (n, 2) labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, 2, generator=generator) < torch.tensor([0.3, 0.5])).float()
    images = 0.2 + 0.3 * labels[:, 0].view(-1, 1, 1, 1) + 0.2 * torch.rand(n, 1, size, size, generator=generator)
    half = size // 2
    for side, rows in ((slice(half, None), labels[:, 1] == 0), (slice(None, half), labels[:, 1] == 1)):
        images[rows, :, half - 2 : half + 2, side] += 0.3
    return images, labels


def batches(n, seed, **options):
    return [*zip(*(part.split(32) for part in squares(n, seed, **options)), strict=True)]


@pytest.fixture(scope="module")
def classifier():
    return train_classifier(batches(320, 0), SHAPE, NAMES, epochs=4)


def test_made_attributes_are_learned(classifier):
    right, frequent = attribute_accuracy(classifier, batches(200, 1), NAMES)
    assert right.min() > 0.95
    _, labels = squares(200, 1)
    shares = labels.mean(0)
    torch.testing.assert_close(frequent, torch.maximum(shares, 1 - shares))
    assert frequent[0] > 0.6


def test_the_accuracy_counts_the_right_answers_of_each_attribute(classifier):
    images, labels = squares(200, 1)
    wrong = labels.clone()
    wrong[:50, 1] = 1 - (attribute_logits(classifier, images[:50])[:, 1] > 0).float()
    wrong[50:, 1] = (attribute_logits(classifier, images[50:])[:, 1] > 0).float()
    assert attribute_accuracy(classifier, [(images, wrong)], NAMES).right[1] == 0.75


def test_logits_do_not_depend_on_how_many_are_read_together(classifier):
    images, _ = squares(130, 2)
    torch.testing.assert_close(attribute_logits(classifier, images), classifier(images), rtol=0, atol=1e-5)
    assert not classifier.training
    assert not any(weight.requires_grad for weight in classifier.parameters())


def test_the_seed_decides_and_the_callers_own_draws_go_on():
    data = batches(64, 0)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    nets = [train_classifier(data, SHAPE, NAMES, epochs=1, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected)
    first, same, other = (attribute_logits(net, data[0][0]) for net in nets)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_numbers_are_labels_by_their_median_and_labels_stay():
    columns = torch.tensor([[0.0, 5.0, 0.2], [0.0, -1.0, 0.3], [1.0, 2.0, 0.9], [0.0, 3.0, 0.1], [0.0, 4.0, 0.4]])
    thresholds = label_thresholds(columns)
    torch.testing.assert_close(thresholds, torch.tensor([0.5, 3.0, 0.3]))
    assert (columns > thresholds).sum(0).tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, "the data hold no attributes; expected batches of images and attributes, float (N, A)."),
        (
            torch.zeros(4).long(),
            "the data hold no attributes; expected batches of images and attributes, float (N, A).",
        ),
        (torch.zeros(4), "the data hold no attributes; expected batches of images and attributes, float (N, A)."),
        (torch.zeros(4, 3), "the data hold 3 attributes; expected 2, the number of their names."),
        (torch.tensor([[0.0, 2.0]] * 4), "left lies in [2, 2]; expected labels in [0, 1]."),
    ],
)
def test_what_are_no_attributes_is_one_sentence(labels, expected):
    batch = (torch.rand(4, *SHAPE),) if labels is None else (torch.rand(4, *SHAPE), labels)
    with pytest.raises(GenmodelsError) as error:
        train_classifier([batch], SHAPE, NAMES, epochs=1)
    assert str(error.value) == expected


def test_batches_that_run_out_are_not_taken_for_an_epoch():
    with pytest.raises(GenmodelsError) as error:
        train_classifier(iter(batches(32, 0)), SHAPE, NAMES, epochs=2)
    assert str(error.value) == (
        "train_classifier: epoch 1 has no batches; expected some that can be gone through each time."
    )
