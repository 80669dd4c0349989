"""Pieces that several messages share. Every text and number has a bound."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from edge.clock import Reading, iso_utc

Id = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]
"""A UUID in lower case."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
"""A device, desk, city, button, process or service: also a topic segment, hence no '/', '+' or '#'."""
Text = Annotated[
    str,
    StringConstraints(
        max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
    ),
]
"""One line for people: no control characters, no line breaks, nothing that turns the writing direction."""
Nanoseconds = Annotated[int, Field(ge=0, le=2**63 - 1)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Value = Text | float | Annotated[int, Field(ge=-(2**53), le=2**53)] | bool | None
"""A fact by name: what JSON can say in one word, and every JSON reader understands alike."""
Argument = Annotated[Text, StringConstraints(max_length=60)]
Routing = Annotated[str, StringConstraints(pattern=r"^[0-9+*#]{2,16}$")]
"""The number a service is reached by: 112 police, 181 or 1091 women's helpline, 108 medical."""
Language = Literal["hi", "en"]
CommandName = Literal["ping", "rebirth", "press_test", "arm_test", "indicator_test", "log_level", "restart"]

Disposition = Literal["real", "test", "prank", "false"]
CitizenState = Literal[
    "idle", "pressed", "trying", "sent", "received", "seen", "coming", "connected", "closed", "nobody"
]
"""What a citizen in front of the box is told (I3)."""


class Model(BaseModel):
    """Base of all messages: immutable, finite numbers only.

    Unknown keys are passed over, so that a newer sender may add a key within version 1 of the protocol.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="ignore", defer_build=True)


# [0-9], for \d is any script's digit. 31 February passes: who reads dates must be ready to refuse one.
_RFC3339 = (
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z$"
)


class Stamp(Model):
    """The clock record every message carries (I9)."""

    utc: Annotated[str, StringConstraints(pattern=_RFC3339)]
    """RFC 3339, milliseconds, as the sender believed it."""
    mono_ns: Nanoseconds
    """CLOCK_MONOTONIC of the sender; orders what carries the same `boot_id`."""
    boot_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    seq: Count
    """Counts up by one for each record of its kind from this sender."""
    trust: Literal["synchronised", "raised", "unsynchronised"]
    max_error_ms: Count | None = None

    @classmethod
    def of(cls, reading: Reading, seq: int) -> Stamp:
        return cls(
            utc=iso_utc(reading.utc_ns),
            mono_ns=reading.mono_ns,
            boot_id=reading.boot_id,
            seq=seq,
            trust=reading.trust,
            max_error_ms=reading.max_error_ms,
        )


class CivicAddress(Model):
    """The fields of RFC 5139 that an Indian street address needs, under their RFC names."""

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = "IN"
    A1: Text = ""
    """State."""
    A3: Text = ""
    """City."""
    RD: Text = ""
    """Road."""
    LOC: Text = ""
    """Where exactly: "Bus stand, gate 2"."""
    PC: Text = ""
    """Postal code."""


class Place(Model):
    """Where a box stands: WGS 84 degrees and a civic address."""

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]
    civic: CivicAddress = CivicAddress.model_construct()


class Press(Model):
    """One accepted press, as the journal keeps it and every copy of it says it."""

    press_id: Id
    incident_id: Id
    """The first press's id; later presses of this box carry it until the desk closes the incident."""
    button: Name
    service: Name
    routing: Routing
    at: Stamp
    """The moment of the kernel's edge; `seq` is the journal's."""
    silent: bool = False
    """The contact, or a long hold, asked for no lamp and no sound."""
    test: bool = False
    test_by: Text | None = None
    """Who armed or ordered the test; the desk asks that person (I10)."""
    held_at_start: bool = False
    """The contact was found closed when the box started."""
