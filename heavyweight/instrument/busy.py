"""``python -m heavyweight.instrument.busy THREADS PARENT``: work that keeps cores busy.

It ends with the process PARENT, which started it, also if that is gone before the work begins.

Each thread multiplies a matrix by a vector again and again, as a model does for a token: the
matrix fits into no cache of a core, so that memory is busy as well.
"""

from __future__ import annotations

import os
import sys
import threading

import numpy as np

SIZE = 2048
READY = "ready"


def work(parent_pid: int) -> None:
    """Multiply until the process that started this one is gone."""
    matrix = np.full((SIZE, SIZE), 1 / SIZE, np.float32)
    vector = np.ones(SIZE, np.float32)
    while os.getppid() == parent_pid:
        vector = matrix @ vector  # lets go of the interpreter while it computes


def main(arguments: list[str]) -> int:
    """Keep as many threads at work as the first argument says, while the second one lives."""
    count, parent_pid = map(int, arguments)
    threads = [threading.Thread(target=work, args=(parent_pid,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    print(READY, flush=True)
    for thread in threads:
        thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
