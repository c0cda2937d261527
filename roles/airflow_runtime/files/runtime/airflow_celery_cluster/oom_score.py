"""Which process of a worker the kernel ends when memory runs out. Imports nothing but the standard library."""

from __future__ import annotations

import os

SCORE_FILE = "/proc/self/oom_score_adj"
# The score of the pool and its tasks, from -1000 to 1000. The kernel takes the process with the highest one, and of
# equal ones the biggest: a task, which has what its supervisor has and its own memory. Never the worker itself.
CHILD_SCORE = 500


def raise_score_of_children() -> None:
    """Have each process that this one forks, and what it forks in its turn, be ended before this one.

    Called before ``memory.hide``, as a hidden process does not own its files in ``/proc``. So a task cannot set its
    score: it would have to be shown, with the memory of its supervisor, to the other tasks. It inherits the score, and
    this process has the children's while it forks one.

    Raises OSError when the score cannot be set.
    """
    descriptor = os.open(SCORE_FILE, os.O_RDWR)
    own = os.pread(descriptor, 16, 0)
    os.pwrite(descriptor, own, 0)  # An error in a hook would not reach the caller.
    children = str(max(int(own), CHILD_SCORE)).encode()
    is_own = True

    def set_score(value: bytes) -> None:
        if is_own:
            os.pwrite(descriptor, value, 0)

    def forget() -> None:
        # The file is the parent's.
        nonlocal is_own
        if is_own:
            is_own = False
            os.close(descriptor)

    os.register_at_fork(
        before=lambda: set_score(children), after_in_parent=lambda: set_score(own), after_in_child=forget
    )
