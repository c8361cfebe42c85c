"""Runs the real command line, in this process or in one of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from lightning_genmodels.cli import main

SUPPORT = Path(__file__).parent
QUIET = ("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false",
         "--trainer.enable_model_summary", "false")  # fmt: skip


def genmodels(*arguments):
    """The exit status of `genmodels …`, in this process."""
    return main([str(a) for a in arguments])


def fit(*arguments):
    assert genmodels("fit", *arguments, *QUIET) == 0


def process(*arguments, cwd, timeout=300, **environment):
    """`genmodels …` as its own process, with the toy models on its path."""
    own = _process_of(arguments, cwd, environment)
    return subprocess.run(**own, capture_output=True, text=True, timeout=timeout, check=False)


def started(*arguments, cwd, **environment):
    """The same while it runs; nobody reads what it says."""
    return subprocess.Popen(
        **_process_of(arguments, cwd, environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _process_of(arguments, cwd, environment):
    path = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        "args": [sys.executable, "-m", "lightning_genmodels", *map(str, arguments)],
        "cwd": cwd,
        "env": {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment},
        # A shell that runs the tests in the background has them, and so this process, ignore Ctrl-C.
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    }


def wait_until(true, seconds=120):
    """Waits until the function gives something true; fails when it does not come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
