from copy import deepcopy

import pytest
import torch

from lightning_genmodels import StyleGAN
from lightning_genmodels.editing import Projection, draw_styles, images_of, project
from lightning_genmodels.editing.projection import noise_at, rate_at
from lightning_genmodels.errors import GenmodelsError
from lightning_genmodels.metrics import DISTANCES, pyramid_distance

SHAPE, LAYERS, LATENTS = (3, 16, 16), 6, 8


def stylegan(**options):
    torch.manual_seed(0)
    model = StyleGAN(SHAPE, latent_dim=LATENTS, width=8, **options)
    with torch.no_grad():  # so that its images, untrained, are within [0, 1]
        for layer in model.averaged_generator.synthesis.to_image:
            layer.weight.mul_(0.03)
    return model


@pytest.fixture(scope="module")
def model():
    return stylegan()


@pytest.fixture(scope="module")
def targets(model):
    images = images_of(model, draw_styles(model, 3, torch.Generator().manual_seed(1)))
    assert 0 < images.min() < images.max() < 1
    return images


def found(model, images, steps=30, **options):
    return project(model, images, steps=steps, generator=torch.Generator().manual_seed(0), **options)


@pytest.fixture(scope="module")
def projection(model, targets):
    return found(model, targets, steps=120)


def distances_of_the_mean(model, images):
    mean = draw_styles(model, 10_000, torch.Generator().manual_seed(0)).mean(0)
    return pyramid_distance(images_of(model, mean.expand(len(images), -1)), images)


def test_what_the_model_made_is_found_again(model, targets, projection):
    assert (projection.distances < distances_of_the_mean(model, targets) / 50).all()
    assert isinstance(projection, Projection)
    assert projection.styles.shape == (3, LATENTS)
    assert projection.images.shape == (3, *SHAPE)
    assert not projection.styles.requires_grad
    assert not projection.images.requires_grad
    torch.testing.assert_close(images_of(model, projection.styles), projection.images)
    torch.testing.assert_close(pyramid_distance(projection.images, targets), projection.distances)


def test_the_history_begins_near_the_mean_style_and_ends_near_the_images(model, targets, projection):
    assert projection.history.shape == (120,)
    assert projection.history[0].item() == pytest.approx(distances_of_the_mean(model, targets).mean().item(), rel=0.5)
    assert projection.history[-1].item() == pytest.approx(projection.distances.mean().item(), rel=0.2, abs=1e-6)


def test_a_style_for_each_layer_comes_nearer_to_an_image_the_model_would_not_make(model):
    images = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(2))
    plain, per_layer = (found(model, images, steps=60, per_layer=each) for each in (False, True))
    assert per_layer.styles.shape == (2, LAYERS, LATENTS)
    assert (per_layer.styles.std(1) > 0).all()
    assert (per_layer.distances < plain.distances).all()
    torch.testing.assert_close(images_of(model, per_layer.styles), per_layer.images)


@pytest.mark.parametrize("per_layer", [False, True])
def test_an_image_is_found_alone_as_among_others(model, targets, per_layer):
    together = found(model, targets, steps=20, per_layer=per_layer)
    for number in range(3):
        alone = found(model, targets[number : number + 1], steps=20, per_layer=per_layer)
        torch.testing.assert_close(alone.styles[0], together.styles[number], rtol=1e-3, atol=1e-3)
    reversed_order = found(model, targets.flip(0), steps=20, per_layer=per_layer)
    torch.testing.assert_close(reversed_order.styles.flip(0), together.styles, rtol=1e-3, atol=1e-3)


def test_the_first_images_are_of_noisy_styles(model, targets):
    first = found(model, targets, steps=1)  # whose learning rate is still 0
    torch.testing.assert_close(first.distances, distances_of_the_mean(model, targets))
    assert first.history[0].item() != pytest.approx(first.distances.mean().item(), rel=1e-3)


def test_the_seed_decides(model, targets):
    one, again = (found(model, targets[:1], steps=5) for _ in range(2))
    other = project(model, targets[:1], steps=5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(one.styles, again.styles)
    assert not torch.equal(one.styles, other.styles)


def test_the_model_stays_as_it_is(targets):
    model = stylegan(ema_images=0).train()  # so that what is projected into has weights with gradients
    model.discriminator.eval()
    model.discriminator.requires_grad_(False)
    kept = [weight.requires_grad for weight in model.parameters()]
    modes = [part.training for part in model.modules()]
    weights = deepcopy(model.state_dict())
    found(model, targets, steps=3)
    assert [weight.requires_grad for weight in model.parameters()] == kept
    assert [part.training for part in model.modules()] == modes
    assert all(weight.grad is None for weight in model.parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


def test_it_works_where_gradients_are_off(model, targets):
    with torch.no_grad():
        off = found(model, targets[:1], steps=5)
    assert torch.equal(off.styles, found(model, targets[:1], steps=5).styles)


def test_weights_of_bfloat16_are_projected_into_too(targets):
    model = stylegan().bfloat16()
    projection = found(model, targets[:1], steps=60)
    assert projection.styles.dtype == torch.float32
    assert projection.distances[0] < distances_of_the_mean(model, targets[:1])[0] / 4


def test_the_distance_is_the_one_asked_for(model, targets, monkeypatch):
    monkeypatch.setitem(DISTANCES, "lpips", lambda x, y: (x.mean((1, 2, 3)) - 0.6).square() + 7)
    projection = found(model, targets[:1], distance="lpips")
    assert projection.distances[0] >= 7
    assert (projection.history >= 7).all()
    assert projection.history[-1] < projection.history[0]


def test_the_learning_rate_rises_and_falls_and_the_noise_fades():
    assert [rate_at(share) for share in (0, 0.025, 0.05, 0.4, 0.75)] == pytest.approx([0, 0.5, 1, 1, 1])
    assert [rate_at(share) for share in (0.875, 1)] == pytest.approx([0.5, 0], abs=1e-12)
    assert [noise_at(share) for share in (0, 0.375, 0.75, 1)] == pytest.approx([0.05, 0.0125, 0, 0])


SENTENCE = "expected floating point (N, 3, 16, 16) in [0, 1], N of 1 or more."


@pytest.mark.parametrize(
    ("images", "options", "said"),
    [
        (torch.rand(2, 1, 16, 16), {}, f"project: images are torch.float32 (2, 1, 16, 16); {SENTENCE}"),
        (torch.rand(3, 16, 16), {}, f"project: images are torch.float32 (3, 16, 16); {SENTENCE}"),
        (torch.rand(0, 3, 16, 16), {}, f"project: images are torch.float32 (0, 3, 16, 16); {SENTENCE}"),
        (torch.ones(1, 3, 16, 16).byte(), {}, f"project: images are torch.uint8 (1, 3, 16, 16); {SENTENCE}"),
        (torch.full((1, 3, 16, 16), 255.0), {}, "project: images lie in [255, 255]; expected [0, 1]."),
        (torch.rand(1, 3, 16, 16), {"steps": 0}, "project: steps is 0; expected 1 or more."),
        (torch.rand(1, 3, 16, 16), {"learning_rate": 0.0}, "project: learning_rate is 0.0; expected above 0."),
        (
            torch.rand(1, 3, 16, 16),
            {"distance": "pixels"},
            "project: distance is 'pixels'; expected one of pyramid, lpips.",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(model, images, options, said):
    with pytest.raises(GenmodelsError) as error:
        found(model, images, **options)
    assert str(error.value) == said
