"""What submitit needs of Slurm, on this machine: `sbatch` starts the tasks at once, `sacct` knows how they ended."""

import os
import re
import subprocess
import sys
from pathlib import Path

JOB = "7"


def install(folder: Path) -> str:
    """Puts sbatch, srun and sacct into a folder; returns the PATH that finds them first."""
    folder.mkdir()
    for name in ("sbatch", "srun", "sacct"):
        command = folder / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        command.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def sbatch(folder: Path, script: str) -> None:
    """Starts every task of an array, and keeps how each ended in a file."""
    first, last = re.findall(r"--array=(\d+)-(\d+)", Path(script).read_text())[0]
    for task in range(int(first), int(last) + 1):
        given = {"SLURM_JOB_ID": str(int(JOB) + task), "SLURM_ARRAY_JOB_ID": JOB, "SLURM_ARRAY_TASK_ID": str(task)}
        environment = {**os.environ, **given}
        line = f'bash "{script}"; echo $? > "{folder / str(task)}"'
        silent = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)  # or submitit would wait for their end
        subprocess.Popen(["bash", "-c", line], env=environment, start_new_session=True, **silent)
    print(f"Submitted batch job {JOB}")


def srun(*words: str) -> None:
    """Runs the command, which begins with its interpreter, its errors in the file that is named for them."""
    names = {"%A": JOB, "%a": os.environ["SLURM_ARRAY_TASK_ID"], "%t": "0", "%j": os.environ["SLURM_JOB_ID"]}
    path = Path(re.sub("%[Aajt]", lambda found: names[found.group()], words[words.index("--error") + 1]))
    path.parent.mkdir(exist_ok=True)  # submitit makes it once sbatch is back: there, jobs wait for a moment at least
    with path.open("a") as errors:
        code = subprocess.run(words[words.index(sys.executable) :], stderr=errors, stdout=errors).returncode
    sys.exit(code % 256)


def sacct(folder: Path) -> None:
    """How each task is, or ended."""
    print("JobID|State|NodeList")
    for script in folder.glob("*"):
        if script.name.isdigit():
            code = script.read_text().strip()
            print(f"{JOB}_{script.name}|{ {'0': 'COMPLETED', '': 'RUNNING'}.get(code, 'OUT_OF_MEMORY') }|here")


if __name__ == "__main__":
    here = Path(os.environ["PATH"].split(os.pathsep)[0])
    name, *words = sys.argv[1:]
    {"sbatch": lambda: sbatch(here, words[-1]), "srun": lambda: srun(*words), "sacct": lambda: sacct(here)}[name]()
