# %% [markdown]
# # Over-complete codes: the identity risk
#
# A code shorter than the image has to choose what to keep. What if it is longer? Nothing then stops the autoencoder
# from copying its input: the reconstruction is perfect and the code has learned nothing about digits. The test is an
# image that no one would take for a digit: whoever copies, redraws it too.

# %%
import torch
from lightning.pytorch import Trainer

from datamodules import DigitsDataModule
from lightning_genmodels import Autoencoder, DenoisingAutoencoder, KSparseAutoencoder
from lightning_genmodels.metrics import probe_codes
from lightning_genmodels.pictures import image_grid, save_png

PIXELS, CODE = 64, 128  # twice as many units as pixels
data = DigitsDataModule()
data.setup()
train, test = (
    [data.to_float(batch) for batch in loader] for loader in (data.train_dataloader(), data.test_dataloader())
)
(x_train, y_train), (x, y) = ([torch.cat(part) for part in zip(*split, strict=True)] for split in (train, test))
noise = torch.rand(len(x), 1, 8, 8, generator=torch.Generator().manual_seed(0))

# %%
torch.manual_seed(0)
shape = (1, 8, 8)
models = {
    "free": Autoencoder(shape, CODE, hidden_sizes=(), output_activation="linear", learning_rate=3e-3),
    "k-sparse": KSparseAutoencoder(shape, CODE, k=8, learning_rate=3e-3),
    "denoising": DenoisingAutoencoder(shape, CODE, noise_level=0.3, learning_rate=3e-3),
}
errors = {}
with torch.no_grad():
    mean = ((x - x_train.mean(0)) ** 2).flatten(1).sum(1).mean()
print(f"{'':>10}  digits  noise   probe   (squared error of an image; the mean digit's is {mean:.1f})")
for name, model in models.items():
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(accelerator="cpu", max_epochs=60, enable_model_summary=False, limit_val_batches=0, **quiet).fit(model, data)
    model.eval()
    drawn = {kind: model.reconstruct(images) for kind, images in (("digits", x), ("noise", noise))}
    errors[name] = {
        kind: ((drawn[kind] - images) ** 2).flatten(1).sum(1).mean().item()
        for kind, images in (("digits", x), ("noise", noise))
    }
    with torch.no_grad():
        wrong = probe_codes(model.encode(x_train), y_train, model.encode(x), y)["logistic"]
    print(f"{name:>10}  {errors[name]['digits']:6.2f}  {errors[name]['noise']:6.2f}  {100 * wrong:5.1f} %")
    rows = torch.stack([x[:8], drawn["digits"][:8], noise[:8], drawn["noise"][:8]], 1).flatten(0, 1)
    save_png(image_grid(rows, columns=8), f"overcomplete-{name}.png")

# %% [markdown]
# The free one redraws noise nearly as it is, too: it is the identity, but for a few pixels at the border, which no
# digit uses. Keeping 8 of 128 units, or having to mend a corrupted image, makes a code of digits, in which noise has no
# place; and the classes are easier to read from it.
#
# **Exercise.** Give the free one `latent_dim=16`. What happens to its two errors?
