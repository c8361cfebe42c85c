import typing

import pytest
import torch
from toy import fit

from lightning_genmodels import ConditionalGAN, GenmodelsError, load_model
from lightning_genmodels.losses.penalties import r1_penalty
from lightning_genmodels.models.conditional_gan import REMEMBERED, ConditioningName
from lightning_genmodels.models.ranges import to_signed
from lightning_genmodels.networks.conditional import (
    AuxiliaryDiscriminator,
    ConcatenationDiscriminator,
    LabelledGenerator,
    ProjectionDiscriminator,
)
from lightning_genmodels.networks.mlp import MLPDiscriminator, MLPGenerator

SHAPE = (1, 8, 8)
NAMES = ("red", "green", "blue")
CONDITIONINGS = typing.get_args(ConditioningName)
every = pytest.mark.parametrize("conditioning", CONDITIONINGS)


def batches(labels, count=4, shape=SHAPE):
    draw = torch.Generator().manual_seed(3)
    return torch.utils.data.DataLoader(
        [(torch.rand(len(labels), *shape, generator=draw), labels) for _ in range(count)], batch_size=None
    )


def gan(**options):
    torch.manual_seed(0)
    return ConditionalGAN(**{"image_shape": SHAPE, "label_names": NAMES, **options})


CLASSES = torch.arange(12) % 3
ATTRIBUTES = (torch.rand(12, 3, generator=torch.Generator().manual_seed(5)) < 0.5).float()


@every
@pytest.mark.parametrize("labels", [CLASSES, ATTRIBUTES], ids=["classes", "attributes"])
@pytest.mark.parametrize(("network", "size"), [("mlp", 8), ("dcgan", 16), ("resnet", 16)])
def test_every_form_trains_on_classes_and_on_attributes(conditioning, labels, network, size):
    shape = (1, size, size)
    model = gan(conditioning=conditioning, network=network, image_shape=shape, penalty_interval=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, batches(labels, 2, shape))
    moved = [name for name, _ in model.named_parameters() if not torch.equal(before[name], model.state_dict()[name])]
    assert any("discriminator" in name for name in moved)
    assert any(name.startswith("generator.") for name in moved)
    extra = {"projection": "embedding", "auxiliary": "classifier"}.get(conditioning)
    assert extra is None or any(extra in name for name in moved)
    assert model.sample(5).shape == (5, *shape)


@every
def test_the_penalty_is_of_each_image_with_its_own_labels(conditioning):
    found = []

    class Recording(ConditionalGAN):
        def discriminator_loss(self, batch, fake):
            terms = super().discriminator_loss(batch, fake)
            condition = self.condition(batch)
            real = to_signed(batch[0])
            others = [labels.roll(1, 0) for labels in condition]
            expected = [
                2.0 * r1_penalty(lambda x, given=given: self.discriminator(x, *given), real, fake)
                for given in (condition, others)
            ]
            found.append((terms["r1"], *expected))
            return terms

    torch.manual_seed(0)
    model = Recording(SHAPE, label_names=NAMES, conditioning=conditioning, penalty_weight=2.0, penalty_interval=1)
    fit(model, batches(CLASSES, 2))
    for own, expected, of_others in found:
        torch.testing.assert_close(own, expected)
        # An auxiliary classifier stands beside the logit, which knows no label.
        assert torch.isclose(own, of_others, rtol=1e-4) == (conditioning == "auxiliary")


def test_the_labels_follow_the_latent():
    inner = MLPGenerator(5 + 3, SHAPE).eval()
    latents, labels = torch.randn(4, 5), torch.eye(3)[[0, 2, 1, 1]]
    drawn = LabelledGenerator(inner).eval()(latents, labels)
    torch.testing.assert_close(drawn, inner(torch.cat([latents, labels], 1)))


def test_each_label_is_a_channel():
    inner = MLPDiscriminator((1 + 3, 8, 8))
    images, labels = torch.rand(4, *SHAPE), torch.eye(3)[[0, 2, 1, 1]]
    planes = torch.stack([torch.stack([torch.full((8, 8), float(value)) for value in row]) for row in labels])
    expected = inner(torch.cat([images, planes], 1))
    torch.testing.assert_close(ConcatenationDiscriminator(inner)(images, labels), expected)


@pytest.mark.parametrize("places", [False, True])
def test_projection_adds_the_inner_product_of_features_and_the_labels_vector(places):
    class Inner(torch.nn.Module):
        feature_size = 2

        def features(self, images):
            return images if places else images.sum((2, 3))

        def head(self, features):
            return 10 * features.flatten(1).sum(1)

    images = torch.rand(3, 2, 4, 4)
    network = ProjectionDiscriminator(Inner(), 3)
    vectors = network.embedding.weight.T  # (L, F)
    pooled = images.sum((2, 3))
    expected = 10 * images.flatten(1).sum(1) + (vectors[[2, 0, 1]] * pooled).sum(1)
    torch.testing.assert_close(network(images, torch.eye(3)[[2, 0, 1]]), expected)
    both = network(images, torch.tensor([[1.0, 1.0, 0.0]]).expand(3, -1))  # attributes: the sum of their vectors
    torch.testing.assert_close(both, 10 * images.flatten(1).sum(1) + ((vectors[0] + vectors[1]) * pooled).sum(1))


def test_auxiliary_logits_do_not_depend_on_the_labels():
    network, images = AuxiliaryDiscriminator(MLPDiscriminator(SHAPE), 3), torch.rand(4, *SHAPE)
    torch.testing.assert_close(network(images, torch.zeros(4, 3)), network(images, torch.ones(4, 3)))
    assert network.classify(images).shape == (4, 3)


@pytest.mark.parametrize("labels", [CLASSES, ATTRIBUTES], ids=["classes", "attributes"])
def test_both_networks_are_trained_to_tell_the_labels_by_cross_entropy(labels):
    found = {}

    class Recording(ConditionalGAN):
        def expected(self, images):
            logits = self.discriminator.classify(images)
            chosen = logits.log_softmax(1) if labels.ndim == 1 else logits.sigmoid()
            if labels.ndim == 1:
                return -chosen[torch.arange(len(labels)), labels].mean()
            return -(labels * chosen.log() + (1 - labels) * (1 - chosen).log()).mean()

        def discriminator_loss(self, batch, fake):
            terms = super().discriminator_loss(batch, fake)
            real = self.expected(batch[0] * 2 - 1)
            found["discriminator"] = (terms["discriminator_labels"], 0.5 * (real + self.expected(fake)))
            return terms

        def generator_loss(self, batch, fake):
            terms = super().generator_loss(batch, fake)
            found["generator"] = (terms["generator_labels"], 0.5 * self.expected(fake))
            return terms

    torch.manual_seed(0)
    fit(
        Recording(image_shape=SHAPE, label_names=NAMES, conditioning="auxiliary", auxiliary_weight=0.5),
        batches(labels, 1),
    )
    for own, expected in found.values():
        torch.testing.assert_close(own, expected)


def test_samples_are_of_the_labels_asked_for():
    model = gan()
    fit(model, batches(CLASSES))
    asked = torch.tensor([2, 0, 2])
    latents = torch.randn(3, model.latent_dim, generator=torch.Generator().manual_seed(1))
    drawn = model.sample(3, labels=asked, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn, model.eval()(latents, asked).clamp(0, 1))
    assert not torch.allclose(drawn, model.sample(3, labels=asked - asked, generator=torch.Generator().manual_seed(1)))
    as_vectors = model.sample(3, labels=torch.eye(3)[asked], generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(as_vectors, drawn)


def test_without_labels_each_class_comes_in_turn():
    model = gan()
    fit(model, batches(CLASSES))
    seeded = [torch.Generator().manual_seed(1) for _ in range(2)]
    turn = model.sample(7, generator=seeded[0])
    torch.testing.assert_close(turn, model.sample(7, labels=torch.arange(7) % 3, generator=seeded[1]))
    assert model.sample(REMEMBERED + 3).shape == (REMEMBERED + 3, *SHAPE)
    many = gan(label_names=tuple(map(str, range(1000))))
    assert many.recent_labels.argmax(1).unique().tolist() == list(range(1000))


def test_spectral_norm_bounds_the_labels_vectors_too():
    model = gan(spectral_norm=True, penalty="none", conditioning="projection")
    fit(model, batches(CLASSES))
    assert torch.linalg.matrix_norm(model.discriminator.embedding.weight, 2).item() == pytest.approx(1, abs=0.05)


def test_without_labels_attributes_are_those_of_the_latest_training_images(tmp_path):
    model = gan()
    trainer = fit(model, batches(ATTRIBUTES, 2))
    assert torch.equal(model.recent_labels[:24], ATTRIBUTES.repeat(2, 1))
    assert len(model.recent_labels) == -(-REMEMBERED // 3) * 3
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    loaded = load_model(tmp_path / "own.ckpt")
    assert torch.equal(loaded.recent_labels, model.recent_labels)
    seeded = [torch.Generator().manual_seed(1) for _ in range(2)]
    torch.testing.assert_close(
        loaded.sample(12, generator=seeded[0]), loaded.sample(12, labels=ATTRIBUTES, generator=seeded[1])
    )


def test_classes_are_named_by_name_or_number():
    model = gan()
    for name in ("blue", "2"):
        assert model.labels_named(name, 2).tolist() == [[0, 0, 1]] * 2
    for name in ("yellow", "3", "no-blue"):
        with pytest.raises(GenmodelsError, match=f"{name} is no label; expected one of red, green, blue"):
            model.labels_named(name, 2)


def test_attributes_are_named_with_and_without_beside_those_of_training_images():
    model = gan()
    fit(model, batches(ATTRIBUTES, 1))
    for name, value in (("green", 1.0), ("no-green", 0.0)):
        labels = model.labels_named(name, 12)
        assert (labels[:, 1] == value).all()
        assert torch.equal(labels[:, [0, 2]], ATTRIBUTES[:, [0, 2]])
    assert torch.equal(model.recent_labels[:12], ATTRIBUTES)
    with pytest.raises(GenmodelsError, match="1 is no label"):
        model.labels_named("1", 2)


def test_attributes_of_which_each_image_has_one_are_no_classes():
    model = gan()
    fit(model, batches(torch.eye(3)[CLASSES], 1))
    assert (model.labels_named("no-green", 12)[:, 1] == 0).all()
    with pytest.raises(GenmodelsError, match="1 is no label"):
        model.labels_named("1", 2)
    with pytest.raises(
        GenmodelsError, match=r"labels are torch.int64, of classes, .* expected floating point \(12, 3\)"
    ):
        model.sample(12, labels=CLASSES)


@every
def test_one_attribute_alone_is_enough(conditioning):
    model = gan(label_names=("smiling",), conditioning=conditioning)
    fit(model, batches(ATTRIBUTES[:, :1], 2))
    asked = torch.tensor([[0.0], [1.0]])
    apart = [model.sample(2, labels=asked, generator=torch.Generator().manual_seed(s)) for s in (0, 0)]
    assert torch.equal(*apart)
    z = torch.randn(1, model.latent_dim)
    model.eval()
    assert not torch.equal(model(z, asked[:1]), model(z, asked[1:]))


def test_interpolation_keeps_the_labels():
    model = gan().eval()
    z0, z1 = (torch.randn(2, model.latent_dim, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    labels = torch.tensor([1, 2])
    drawn = model.interpolate(z0, z1, 4, labels=labels)
    assert drawn.shape == (2, 4, *SHAPE)
    torch.testing.assert_close(drawn[:, 0], model(z0, labels).clamp(0, 1))
    torch.testing.assert_close(drawn[:, 3], model(z1, labels).clamp(0, 1), rtol=1e-4, atol=1e-4)
    assert model.interpolate(z0, z1, 3).shape == (2, 3, *SHAPE)


@every
def test_a_learned_generator_draws_what_was_asked_for(conditioning):
    """Three classes of flat images, dark, grey and light."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([0.1, 0.5, 0.9])

    def batch():
        labels = torch.randint(3, (32,), generator=generator)
        noise = 0.05 * torch.rand(32, 1, 4, 4, generator=generator)
        return levels[labels].view(-1, 1, 1, 1).expand(-1, 1, 4, 4) + noise, labels

    loader = torch.utils.data.DataLoader([batch() for _ in range(300)], batch_size=None)
    model = gan(image_shape=(1, 4, 4), conditioning=conditioning, latent_dim=4, learning_rate=2e-3, ema_decay=0.9)
    fit(model, loader)
    labels = torch.arange(300) % 3
    drawn = model.sample(300, labels=labels, generator=torch.Generator().manual_seed(0)).mean((1, 2, 3))
    nearest = (drawn[:, None] - levels - 0.025).abs().argmin(1)
    assert (nearest == labels).float().mean() >= 0.95


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            torch.tensor([0, 3]),
            r"classes of the shape \(2,\), from 0 to 3; expected \(N,\) numbers from 0 to 2, 3 being the",
        ),
        (torch.tensor([[0], [1]]), r"classes of the shape \(2, 1\), from 0 to 1; expected \(N,\) numbers from 0 to 2"),
        (torch.full((2, 4), 0.5), r"\(2, 4\), from 0.5 to 0.5; expected \(N, 3\) numbers in \[0, 1\], 3 being the"),
        (torch.full((2, 3), -1.0), r"of the shape \(2, 3\), from -1 to -1; expected \(N, 3\) numbers in \[0, 1\]"),
        (torch.tensor([0]), r"labels of the shape \(1,\) for 2 images; expected as many"),
        (torch.tensor(0), r"labels of the shape \(\) for 2 images; expected as many"),
    ],
)
def test_labels_out_of_their_range_are_one_sentence(labels, message):
    with pytest.raises(GenmodelsError, match=message):
        gan().sample(2, labels=labels)


def test_batches_without_labels_are_one_sentence():
    bare = torch.utils.data.DataLoader([(torch.rand(4, *SHAPE), "none")], batch_size=None)
    with pytest.raises(GenmodelsError, match=r"the batch holds no labels; expected \(images, labels\)\."):
        fit(gan(), bare)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_names": ()}, "label_names is empty; expected 1 name or more"),
        ({"conditioning": "film"}, "conditioning is 'film'; expected one of concatenation, projection, auxiliary"),
        ({"auxiliary_weight": -1.0}, "auxiliary_weight is -1.0; expected 0 or more"),
        ({"latent_dim": 0}, "latent_dim is 0; expected 1 or more"),
        ({"network": "dcgan"}, "the images are 8x8 pixels"),
    ],
)
def test_an_option_out_of_range_is_named_with_its_value(options, message):
    with pytest.raises(GenmodelsError, match=f"ConditionalGAN: .*{message}"):
        gan(**options)
