import csv
from pathlib import Path

from command import fit, genmodels

RUN = Path("runs/gan_digits/0")
SHORT = ("--trainer.max_epochs", 2, "--trainer.limit_train_batches", 3, "--trainer.log_every_n_steps", 1)


def steps():
    with (RUN / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_a_resumed_run_that_was_over_says_so_and_one_that_goes_on_does_not(in_tmp, capsys):
    fit(*SHORT)
    results, last = capsys.readouterr().out.splitlines(), RUN / "checkpoints/last.ckpt"
    checkpoint = last.read_bytes()
    for more, expected in (
        ((), "Nothing was trained: --trainer.max_epochs is 2, and as many epochs were over before."),
        (("--trainer.max_steps", 6), "Nothing was trained: --trainer.max_steps is 6, and step 6 was reached before."),
        (("--trainer.max_steps", 4), "Nothing was trained: --trainer.max_steps is 4, and step 6 was reached before."),
    ):
        assert genmodels("fit", "--resume", RUN, *more) == 0
        assert capsys.readouterr().out.splitlines() == [expected, *results]
        assert steps() == [0, 1, 2, 3, 4, 5]
        assert last.read_bytes() == checkpoint
    # The run's configuration is now of 4 steps.
    fit("--resume", RUN, "--trainer.max_epochs", 3, "--trainer.max_steps", -1)
    assert "Nothing was trained" not in capsys.readouterr().out
    assert steps() == [0, 1, 2, 3, 4, 5, 6, 7, 8]
