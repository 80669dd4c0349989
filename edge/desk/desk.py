"""What the desk's HTTP side is given: the service, and who may come in."""

from __future__ import annotations

from dataclasses import dataclass

from edge.clock import Clock
from edge.desk import views
from edge.desk.passwords import Locks, Passwords
from edge.desk.service import Service
from edge.desk.sessions import Sessions


@dataclass(frozen=True)
class Desk:
    service: Service
    sessions: Sessions
    clock: Clock
    passwords: Passwords
    locks: Locks
    info: views.DeskInfo
    names: tuple[str, ...] = ()
    """Host names of the desk, besides loopback's."""
    secure_cookies: bool = False
    """Browsers reach the desk by HTTPS alone."""
