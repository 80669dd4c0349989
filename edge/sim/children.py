"""What every process started off a box shares."""

from __future__ import annotations

# Not by `preexec_fn`: that is Python between fork and exec, which waits for ever for a lock that another
# thread of ours held at the fork, and so do we.
DIES_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM", "--")
"""Before a program's own words (util-linux): the kernel ends it when the demo or test behind it is gone."""
