"""Train in child processes that are killed repeatedly, until the run is done: ``python killed.py SETTINGS SEED``.

Every second child is killed at a random time. The others kill themselves right before or after a file of a checkpoint
is written, flushed or renamed, chosen at random, so that incomplete checkpoints are certain to occur. Prints how many
were killed, and how many of them while writing a checkpoint.
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
from voxlate.files import flush
from voxlate.training import checkpoint
from voxlate.training.train import train

KILLS = 20


def kill_in_checkpoint(moment: int) -> None:
    """Make this process kill itself at the given moment of writing checkpoints."""
    count = 0

    def killing(original: Callable[..., Any]) -> Callable[..., Any]:
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

    vars(weights)["save_file"] = killing(safetensors.torch.save_file)
    vars(checkpoint)["flush"] = killing(flush)
    Path.rename = killing(Path.rename)  # type: ignore[method-assign]


def main() -> None:
    """Fork, train and kill until a child ends by itself."""
    config = read_config(sys.argv[1])
    chance = random.Random(int(sys.argv[2]))
    killed = in_checkpoint = 0
    while True:
        child = os.fork()
        if child == 0:
            if killed % 2 and killed < KILLS:
                kill_in_checkpoint(chance.randint(1, 10))
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
        in_checkpoint += any((config.output_dir / "checkpoints").glob(".update-*.part"))
        time.sleep(0.01)


if __name__ == "__main__":
    main()
