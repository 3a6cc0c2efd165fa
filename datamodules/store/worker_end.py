"""Processes that end with the one that started them, however that ended: nobody else would tell them."""

import os
import threading
import time
from collections.abc import Callable

LOOK_EVERY_S = 0.5  # how soon a process notices that another is gone


def end_with_parent() -> None:
    """Ends this process as soon as the one that started it is gone."""
    parent = os.getppid()
    end_unless(lambda: os.getppid() == parent)


def end_unless(holds: Callable[[], bool]) -> None:
    """Ends this process as soon as something holds no longer; a thread of its own looks, whatever the others do."""

    def watch() -> None:
        while holds():
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
