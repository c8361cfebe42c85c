"""A killed run goes on as if nothing had happened; an interrupted one says how."""

import pytest
import torch
from command import QUIET, process

ARGUMENTS = ("fit", "--model", "toy.DropoutGAN", "--data", "DigitsDataModule", "--trainer.max_epochs", 3,
             "--trainer.log_every_n_steps", 5, "--checkpoint.every_n_steps", 5, *QUIET)  # fmt: skip
RUN = "runs/dropoutgan_digits/0"


def assert_same(one, other, where=""):
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}/{number}")
    else:
        assert one == other, where


# An epoch has 19 batches: step 35 is in the middle of one, step 19 its end, where a validation comes too.
@pytest.mark.parametrize(
    ("killed_at", "last", "options"),
    [
        (37, 35, ()),
        (19, 19, ("--data.num_workers", 2)),
        (37, 35, ("--trainer.precision", "bf16-mixed", "--model.schedule", "linear", "--model.gradient_clip", 0.5)),
        (37, 35, ("--model.discriminator_steps", 3, "--model.accumulate", 2, "--model.generator_steps", 2)),
        (17, 15, ("--trainer.strategy", "ddp", "--trainer.devices", 2, "--model.schedule", "linear")),
    ],
)
def test_a_killed_and_resumed_run_equals_one_never_interrupted(tmp_path, killed_at, last, options):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        folder.mkdir()
    assert process(*ARGUMENTS, *options, cwd=whole).returncode == 0
    assert process(*ARGUMENTS, *options, cwd=broken, TOY_KILL_AT=str(killed_at)).returncode == -9
    at_kill = torch.load(broken / RUN / "checkpoints/last.ckpt", weights_only=True)
    assert at_kill["global_step"] == last
    resumed = process("fit", "--resume", RUN, cwd=broken)
    assert resumed.returncode == 0, resumed.stderr
    one, other = (torch.load(f / RUN / "checkpoints/last.ckpt", weights_only=True) for f in (whole, broken))
    assert one["global_step"] == (27 if "ddp" in options else 57)
    for key in ("state_dict", "optimizer_states", "global_step", "epoch"):
        assert_same(one[key], other[key], key)
    pictures = sorted(p.relative_to(whole) for p in (whole / RUN / "pictures").iterdir())
    assert len(pictures) == 3
    for name in (f"{RUN}/metrics.csv", *pictures):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    assert not (broken / "runs/dropoutgan_digits/1").exists()


def test_ctrl_c_ends_cleanly_and_names_the_last_checkpoint(tmp_path):
    stopped = process(*ARGUMENTS, cwd=tmp_path, TOY_INTERRUPT_AT="37")
    assert stopped.returncode == 130
    assert f"Interrupted at step 37; the last good checkpoint is {RUN}/checkpoints/last.ckpt." in stopped.stdout
    assert f"genmodels fit --resume {RUN}" in stopped.stdout
    assert "Traceback" not in stopped.stderr
    assert process("fit", "--resume", RUN, cwd=tmp_path).returncode == 0


def test_ctrl_c_before_the_first_checkpoint_promises_no_resume(tmp_path):
    stopped = process(*ARGUMENTS, cwd=tmp_path, TOY_INTERRUPT_AT="2")
    assert stopped.returncode == 130
    assert "Interrupted at step 2; no checkpoint had been written." in stopped.stdout
    assert "--resume" not in stopped.stdout
