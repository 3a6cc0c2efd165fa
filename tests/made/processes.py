"""Real processes of `python run.py`, looked at from outside; what a failed test leaves of them ends with it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

RUN = Path(__file__).parents[2] / "run.py"

_running: list[subprocess.Popen] = []


def started(cwd: Path, *words: str, **environment: str) -> subprocess.Popen:
    """`python run.py WORDS` in a folder, its output and errors in one pipe."""
    # A service of wandb's own that this process has started would be shared, and survive a kill.
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    path = os.pathsep.join(filter(None, [str(RUN.parent), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(
        [sys.executable, str(RUN), *words],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_ctrl_c,
    )
    _running.append(process)
    return process


def hear_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so does all that it starts: tests run there, too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end_all() -> None:
    """Ends what is still running, with what it has started, and closes its pipe."""
    while _running:
        process = _running.pop()
        if process.poll() is None:
            for pid in [process.pid, *children_of(process.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def children_of(pid: int) -> dict[int, str]:
    """Command lines of the processes that a process has started, and of those that they have, as of one moment."""
    # -ww: else COLUMNS cuts the lines, and whether a word is in them depends on how long the interpreter's path is.
    listing = subprocess.run(["ps", "-eww", "-o", "pid=,ppid=,args="], capture_output=True, text=True).stdout
    by_parent: defaultdict[int, dict[int, str]] = defaultdict(dict)
    for line in listing.splitlines():
        child, parent, command = line.split(None, 2)
        by_parent[int(parent)][int(child)] = command
    found, waiting = {}, [pid]
    while waiting:
        children = by_parent[waiting.pop()]
        found |= children
        waiting.extend(children)
    return found


def wait_for(process: subprocess.Popen, folder: Path, pattern: str, seconds: float = 240) -> Path:
    """The first file of a pattern, as soon as it is there."""
    deadline = time.monotonic() + seconds
    while (found := next(folder.glob(pattern), None)) is None:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{pattern} did not appear in {folder}"
        time.sleep(0.02)
    return found


def assert_gone(pids: dict[int, str]) -> None:
    """That processes end within 20 seconds."""
    deadline = time.monotonic() + 20
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, [pids[pid] for pid in alive]
        time.sleep(0.2)
