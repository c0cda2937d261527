"""Whether other processes of the same user may look into this one. Imports nothing but the standard library."""

from __future__ import annotations

import ctypes
import os

PR_SET_DUMPABLE = 4


def hide() -> None:
    """Hide this process' memory and environment from all other processes of its user but root.

    The kernel then gives root what is in ``/proc/<pid>``. A child inherits it, an executed program
    does not. Nothing shows a process again: it would show what it has inherited.

    Raises OSError when the kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
