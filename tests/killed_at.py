"""`python -m tests.killed_at PHASE WORDS`: does what run.py does and is killed by the kernel in a phase of training."""

import sys

import run
from lightning_modules import tasks
from lightning_modules.command_line import run_command
from tests.conftest import ROOT
from tests.test_ending import SendAt

if __name__ == "__main__":
    build, at = tasks.build, SendAt("SIGKILL", sys.argv[1])
    tasks.build = lambda config: build(config, at)
    sys.argv = ["run.py", "--config-path", str(ROOT / "conf"), *sys.argv[2:]]
    run_command(run.main, run.CONF)
