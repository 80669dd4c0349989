"""What this box says of itself: birth, heartbeat, results; each with its clock record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from edge import __version__
from edge.clock import Clock
from edge.config import Config
from edge.ids import uuid7
from edge.protocol.common import Stamp
from edge.protocol.inner import Sound
from edge.protocol.wire import Birth, Health, OpenIncident, Result
from edge.uplink import machine
from edge.uplink.commands import Status
from edge.uplink.watch import Watch

Facts = dict[str, str | float | int | bool | None]
MAX_FAULTS = 3
FAULT_CHARS = 60


class Reporter:
    """Makes the messages; the caller sends them."""

    def __init__(
        self, config: Config, clock: Clock, read_machine: Callable[[Path], Facts] = machine.read
    ) -> None:
        """`read_machine` gets the data folder and gives the facts of the machine."""
        self._config = config
        self._read_machine = read_machine
        self._box = config.need_box()
        self._clock = clock
        self._sequence = 0
        self.session = 0
        """The number of the present session: in its birth, its will and its heartbeats."""

    def stamp(self) -> Stamp:
        self._sequence += 1
        return Stamp.of(self._clock.read(), self._sequence)

    def birth(self, *, online: bool) -> Birth:
        return Birth(
            id=uuid7(self._clock),
            device=self._box.device,
            online=online,
            session=self.session,
            at=self.stamp(),
            name=self._box.name,
            place=self._box.place,
            roles=self._box.roles,
            services=self._box.services,
            version=__version__,
        )

    def result(self, of: str | None, channel: str, status: Status, reason: str) -> Result:
        return Result(
            id=uuid7(self._clock),
            device=self._box.device,
            of=of,
            channel=channel,
            status=status,
            reason=reason[:200],
            at=self.stamp(),
        )

    def health(
        self,
        watch: Watch,
        *,
        link: Facts,
        incidents: tuple[OpenIncident, ...],
        waiting: int,
        outbox_fault: str,
        sound: Sound,
        proof: Mapping[str, str | float | int | bool | None],
        shed: Iterable[str],
    ) -> Health:
        inputs = watch.last_inputs()
        facts = self._read_machine(self._config.paths.data)
        faults = dict(list(inputs.faults.items())[:MAX_FAULTS])
        if outbox_fault:
            faults["outbox"] = outbox_fault
        if sound.fault:
            faults["sound"] = sound.fault
        facts.update({f"fault_{name}": text[:FAULT_CHARS] for name, text in faults.items()})
        return Health(
            id=uuid7(self._clock),
            device=self._box.device,
            session=self.session,
            at=self.stamp(),
            uptime_s=machine.uptime_s(),
            processes=watch.processes("uplink"),
            incidents=incidents,
            buttons=inputs.buttons,
            tamper=inputs.tamper,
            waiting=waiting,
            link=link,
            machine=facts,
            self_test=dict(proof),
            shed=tuple(sorted(shed)),
        )
