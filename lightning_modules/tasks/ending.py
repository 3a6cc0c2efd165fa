"""How a process ends when it is told to: by a signal, or because the process that started it is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from datamodules.store.worker_end import end_unless, end_with_parent

# A scheduler's end of time, Ctrl-C, Slurm's warning. Windows has no SIGUSR1.
STOPS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
AGAIN_S = 0.05  # until a stop is tried again that came at a moment when nothing can be raised
GRACE_S = 8.0  # for putting things in order; Slurm kills 30 s after SIGTERM, Docker 10 s

last_words: list[Callable[[], object]] = []  # what is still done when a signal or an error ends the process
_heard: list[int] = []  # signals that ended this process
_listening: list[bool] = []
_said: list[bool] = []


class Stopped(SystemExit):
    """A signal ends this process; the exit code is a shell's own, 143 of SIGTERM.

    As KeyboardInterrupt it is raised wherever the main thread is, passes every `except Exception` and unwinds what is
    open. Nothing is saved on the way: a run goes on from the last checkpoint, which every epoch leaves.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


def listen() -> None:
    """Ends this process by `Stopped` when it is told to, and in any case `GRACE_S` later.

    The main thread may hang in a collective of a distributed run, where no Python handler runs; a thread of its own
    then ends the process. Further processes of a distributed run leave the decision to the first, and end with it.
    """
    _listening.append(True)
    if os.environ.get("LOCAL_RANK", "0") != "0":
        end_with_parent()
    else:
        told, tells = os.pipe()
        os.set_blocking(tells, False)
        signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
        threading.Thread(target=_end_in_any_case, args=(told,), name="ending", daemon=True).start()
        sys.unraisablehook = partial(_stop_again, sys.unraisablehook)
    hear()


def hear() -> None:
    """Takes the signals back from whoever has taken them since `listen`; without it, leaves them alone.

    Lightning's own handlers end a run with exit code 0, wait in distributed runs for processes that do not answer, and
    under Slurm write a checkpoint of their own that later runs prefer to ours.
    """
    if _listening and threading.current_thread() is threading.main_thread():
        for signum in STOPS:
            signal.signal(signum, _stop if os.environ.get("LOCAL_RANK", "0") == "0" else _pass_on)


def _stop(signum: int, frame: FrameType | None) -> None:
    if not _heard:  # a second one would disturb the end that the first has begun
        _heard.append(signum)
        raise Stopped(signum)


def _stop_again(otherwise: Callable[[Any], object], dropped: Any) -> None:
    """Tries once more where `Stopped` came up in a destructor or a weak reference's callback: Python drops it there.

    That is no rare moment: a signal that comes during a backward pass is handled by the first Python code after it, and
    that is often what the graph's end has called back.
    """
    if not isinstance(dropped.exc_value, Stopped):
        otherwise(dropped)
        return
    _heard.clear()
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), dropped.exc_value.signum))
    again.daemon = True
    again.start()


def _pass_on(signum: int, frame: FrameType | None) -> None:
    if not _heard:
        _heard.append(signum)
        os.kill(os.getppid(), signum)


def _end_in_any_case(told: int) -> None:
    while True:
        (signum,) = os.read(told, 1)
        if signum in STOPS:
            time.sleep(GRACE_S)
            say_goodbye(signum)
            os._exit(128 + signum)


def say_goodbye(signum: int) -> None:
    """Says once what ended the process and how to go on, then the `last_words`."""
    if _said:
        return
    _said.append(True)
    words = f"paraspine: stopped by {signal.Signals(signum).name}; the same command goes on from here"
    if requeued := _requeued(signum):
        words += f" ({requeued})"
    # The cells of a grid write to the same terminal, and what they have begun may end in no line.
    print(f"\n{words}" if last_words else words, file=sys.stderr, flush=True)
    say_last_words()


def say_last_words() -> None:
    """What was to be said or ended in any case, the latest first."""
    while last_words:
        last_words.pop()()
    sys.stdout.flush()


def _requeued(signum: int) -> str:
    """Puts a Slurm job that is warned of its end (sbatch --signal=USR1@60) back into the queue; says how that went."""
    job = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ.get("SLURM_JOB_ID", ""))
    if signal.Signals(signum).name != "SIGUSR1" or not job or os.environ.get("SLURM_PROCID", "0") != "0":
        return ""
    job += f"_{os.environ['SLURM_ARRAY_TASK_ID']}" if "SLURM_ARRAY_TASK_ID" in os.environ else ""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=GRACE_S / 2)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"scontrol requeue {job} failed: {error}"
    failure = " ".join(done.stderr.split())
    return f"job {job} waits in the queue again" if done.returncode == 0 else f"scontrol requeue {job}: {failure}"


def end_with(pid: int) -> None:
    """Ends this process as soon as another one is gone that started its parent, or is further away."""

    def alive() -> bool:
        try:
            os.kill(pid, 0)
            # A dead one that nobody has asked about yet is still in the list; where there is no /proc, it counts.
            return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return not Path("/proc/self/stat").exists()
        except ProcessLookupError:
            return False

    end_unless(alive)
