"""Whether other processes of the same user may look into this one. Imports nothing but the standard library."""

from __future__ import annotations

import ctypes
import os

PR_SET_DUMPABLE = 4


def show(shown: bool) -> None:
    """Show this process' memory and environment to other processes of its user, or hide them from all but root.

    The kernel then gives root what is in ``/proc/<pid>``. A child inherits it, an executed program
    does not.

    :param shown: False to hide.
    Raises OSError when the kernel refuses.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, int(shown), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
