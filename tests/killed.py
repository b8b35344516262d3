"""Train in child processes that are killed, again and again, until the run is done: ``python killed.py SETTINGS SEED``.

Every second child is killed at a random time. The others kill themselves at a random one of the moments at which a
file of a checkpoint has just been begun, synced or renamed, so that half-written checkpoints are sure to occur.
Prints how many were killed, and how many of them while a checkpoint was being written.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
from rich.console import Console

from voxlate.checkpoints import weights
from voxlate.config.schema import read_config
from voxlate.training import checkpoint
from voxlate.training.train import train

KILLS = 20


def kill_in_checkpoint(moment: int) -> None:
    """Let this process kill itself at a moment of the writing of checkpoints, counted over their files."""
    count = 0

    def deadly(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*arguments, **keywords)
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    vars(weights)["save_file"] = deadly(safetensors.torch.save_file)
    checkpoint._sync = deadly(checkpoint._sync)
    Path.rename = deadly(Path.rename)  # type: ignore[method-assign]


def main() -> None:
    """Fork, train, kill, until a child ends by itself after the last kill."""
    config = read_config(sys.argv[1])
    chance = random.Random(int(sys.argv[2]))
    killed = in_checkpoint = 0
    while True:
        child = os.fork()
        if child == 0:
            if killed % 2 and killed < KILLS:
                kill_in_checkpoint(chance.randint(1, 12))
            with open(os.devnull, "w") as nowhere:  # noqa: PTH123
                code = train(config, Console(file=nowhere))
            os._exit(code)
        chance.random()  # the child has drawn from its own copy
        timer = None
        if killed < KILLS and killed % 2 == 0:
            timer = threading.Timer(chance.uniform(0.05, 1.2), os.kill, (child, signal.SIGKILL))
            timer.start()
        _, status = os.waitpid(child, 0)
        if timer is not None:
            timer.cancel()
        if not os.WIFSIGNALED(status):
            print(killed, in_checkpoint)
            sys.exit(os.WEXITSTATUS(status))
        killed += 1
        in_checkpoint += any((config.output / "checkpoints").glob(".update-*.part"))
        time.sleep(0.01)


if __name__ == "__main__":
    main()
