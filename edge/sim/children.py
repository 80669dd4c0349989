"""What every process started off a box shares."""

from __future__ import annotations

import ctypes
import signal

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None, use_errno=True)


def dies_with_parent() -> None:
    """For `preexec_fn`: the kernel ends the child when the demo or test that started it is killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
