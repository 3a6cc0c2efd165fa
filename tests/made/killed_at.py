"""`python -m tests.made.killed_at PHASE WORDS`: run.py, killed by the kernel in a phase of training."""

import sys

import run
from lightning_modules.tasks import training
from lightning_modules.tasks.command_line import run_command
from tests.conftest import ROOT
from tests.lightning_modules.test_ending import SendAt

if __name__ == "__main__":
    build, at = training.build, SendAt("SIGKILL", sys.argv[1])
    training.build = lambda config: build(config, at)
    sys.argv = ["run.py", "--config-path", str(ROOT / "conf"), *sys.argv[2:]]
    run_command(run.main, run.CONF)
