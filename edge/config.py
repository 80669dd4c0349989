"""The configuration: one TOML file for a box (or a desk), read once at start.

Unknown keys are refused; an error names the key and its line, the value, and what is allowed.
Keys and certificates are never in it, only the paths of their files.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.errors import ConfigError
from edge.protocol import common
from edge.protocol.common import Language, Name, Routing, Text

MAX_BYTES = 256 * 1024
Pin = Annotated[int, Field(ge=0, le=53)]
"""A BCM GPIO number."""
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


def _usable(path: Path) -> Path:
    if str(path) in ("", ".") or not str(path).isprintable():
        raise ValueError("a path must name something, in printable characters")
    return path


FilePath = Annotated[Path, AfterValidator(_usable)]


ShortName = Annotated[Text, Field(min_length=1, max_length=60)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class CivicAddress(common.CivicAddress, extra="forbid"):
    """The street address, by the short names of RFC 5139."""


class Place(common.Place, extra="forbid"):
    """Where the box stands: WGS 84 degrees and a street address."""

    civic: CivicAddress = CivicAddress.model_construct()


class Box(Section):
    """Who and where this box is."""

    city: Name
    device: Name
    """Also the common name of its certificate and its MQTT client id."""
    name: Text
    """What people call it: "Bus stand, gate 2"."""
    place: Place
    roles: tuple[Literal["callbox", "camera"], ...] = ("callbox",)
    services: dict[Name, Routing] = {"police": "112", "women": "181", "medical": "108"}
    """Service -> number it is routed to."""
    languages: tuple[Language, ...] = ("hi", "en")
    """In the order they are spoken."""


class Paths(Section):
    """Where files are."""

    data: FilePath = Path("/var/lib/edge")
    """Stable storage; each process writes only its own folder in it."""
    run: FilePath = Path("/run/edge")
    """Memory: the bus's sockets, and the fallback journal."""


class Contact(Section):
    """One button: a contact on a GPIO line."""

    pin: Pin
    service: Name
    active_low: bool = True
    """The contact pulls the line to ground."""
    silent: bool = False
    """No lamp and no sound at the box (duress)."""


class Button(Section):
    """The contacts a person can press, and the one of the lid."""

    driver: Literal["gpio", "sim"] = "gpio"
    bias: Literal["internal", "external"] = "internal"
    """What holds an open line: the Pi's own resistor (50 kilohm), or one on the board, for a long cable."""
    stable_ms: Annotated[float, Field(ge=2, le=15)] = 5
    """A contact counts when it has been closed this long without an edge."""
    reread_ms: Annotated[float, Field(ge=10, le=1000)] = 100
    """The level is read again this often, in case an edge was lost."""
    mute_hold_s: Annotated[float, Field(ge=1, le=10)] = 3
    """Holding any button this long darkens and mutes what has begun."""
    stuck_s: Annotated[float, Field(ge=10, le=600)] = 60
    contacts: dict[Name, Contact] = Field(default_factory=dict, max_length=8)
    tamper_pin: Pin | None = None
    """A contact that opens with the lid."""


class Indicator(Section):
    """Lamp, buzzer and beacon: lines of the same driver as the buttons."""

    lamp_pin: Pin | None = None
    """Unset: this box has none. The same for the buzzer."""
    buzzer_pin: Pin | None = None
    beacon_pin: Pin | None = None
    """A relay for a beacon on the mast; it follows an open incident that is not silent."""


class Journal(Section):
    """The press journal."""

    segments: Annotated[int, Field(ge=2, le=64)] = 8
    """Preallocated files of 256 KiB; 64 records each."""
    stall_ms: Annotated[float, Field(ge=20, le=2000)] = 200
    """How long a press waits for the disk before it goes out without it (I1)."""


class Audio(Section):
    """Loudspeaker and microphone."""

    driver: Literal["sound", "sim"] = "sound"
    device: str | None = None
    """Part of the sound card's name; None takes the system's default."""
    prompts: FilePath | None = None
    """A folder of recordings that replace the rendered prompts of the same file name."""
    volume: Annotated[float, Field(ge=0, le=1)] = 0.8


class Uplink(Section):
    """The way to the centre's broker."""

    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    port: Port = 8883
    ca: FilePath = Path("/etc/edge/tls/ca.pem")
    cert: FilePath = Path("/etc/edge/tls/device.pem")
    key: FilePath = Path("/etc/edge/tls/device.key")
    keepalive_s: Annotated[int, Field(ge=5, le=600)] = 20
    connect_timeout_s: Seconds = 8
    health_s: Annotated[float, Field(ge=1, le=600)] = 30
    trying_after_s: Seconds = 3
    """Without the broker's acknowledgement by then, the citizen is told `trying`."""
    nobody_after_s: Seconds = 45
    """Without a person's acknowledgement by then, the citizen is told `nobody`."""
    receipt_wait_s: Seconds = 2
    """First pause before an alert without a receipt is repeated; doubles up to `repeat_s`."""
    repeat_s: Seconds = 15
    """Pause between repeats: without a receipt at most this, without an acknowledgement always this."""
    retry_max_s: Seconds = 120
    """Ceiling of the reconnect pause; the pause itself is random below it."""
    first_spread_s: Annotated[float, Field(ge=0, le=600)] = 20
    """First connects of a city after a power failure are spread over this by device id."""
    outbox_max_rows: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    outbox_max_bytes: Annotated[int, Field(ge=100_000, le=2**32)] = 64 * 2**20
    receive_maximum: Annotated[int, Field(ge=1, le=65535)] = 20
    session_expiry_s: Annotated[int, Field(ge=0, le=2**31)] = 86400


class ClockSet(Section):
    """How `edge clock raise` sets the clock."""

    setter: Literal["system", "faketime"] = "system"
    """`faketime` writes the offset file of libfaketime: a test's settable clock."""
    faketime_file: FilePath | None = None


class DeskContact(Section):
    """Whom an operator can send to an incident."""

    key: Name
    name: ShortName
    number: Routing
    service: Name


class Desk(Section):
    """The operator desk at the centre."""

    id: Name
    city: Name
    data: FilePath
    broker_host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    broker_port: Port = 8883
    ca: FilePath
    cert: FilePath
    key: FilePath
    http_host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    http_port: Port = 8080
    http_names: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.:-]{1,253}$")], ...] = ()
    """Further names under which browsers reach the desk, besides 127.0.0.1, ::1 and localhost."""
    token_file: FilePath
    """Holds the operators' access token; made with a random one when it is absent."""
    silent_after_s: Seconds = 90
    """A box unheard-of for this long is an alarm."""
    presence_s: Seconds = 10
    answer_s: Seconds = 15
    """An alert that nobody has acknowledged goes on to the next group after this long."""
    groups: Annotated[tuple[ShortName, ...], Field(min_length=1, max_length=8)] = ("Control room",)
    """Who answers, in the order in which alerts reach them."""
    contacts: Annotated[tuple[DeskContact, ...], Field(max_length=40)] = (
        DeskContact(key="police", name="Police control room", number="112", service="police"),
        DeskContact(key="women", name="Women's helpline", number="181", service="women"),
        DeskContact(key="medical", name="Ambulance", number="108", service="medical"),
    )
    """Whom an operator sends: the city's own list."""
    tiles: Annotated[str, Field(pattern=r"^(https?://[^\s'\";]{1,200})?$")] = ""
    """Address of map tiles, with {z}, {x} and {y}; the map is of use without."""
    tiles_credit: Annotated[str, Field(max_length=200)] = ""
    """What the owner of the tiles wants to read below them."""
    https: bool = False
    """A proxy in front of the desk speaks HTTPS: browsers then send its cookie no other way."""


class Sim(Section):
    """Off a box: where the stage that stands for the hardware listens."""

    stage: FilePath


class Config(Section):
    """The whole file. A box needs [box]; a desk needs [desk]."""

    box: Box | None = None
    paths: Paths = Paths.model_construct()
    button: Button = Button.model_construct()
    indicator: Indicator = Indicator.model_construct()
    journal: Journal = Journal.model_construct()
    audio: Audio = Audio.model_construct()
    uplink: Uplink = Uplink.model_construct()
    clock: ClockSet = ClockSet.model_construct()
    desk: Desk | None = None
    sim: Sim | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        if self.box is not None:
            for name, contact in self.button.contacts.items():
                if contact.service not in self.box.services:
                    known = ", ".join(sorted(self.box.services))
                    raise ValueError(
                        f"button.contacts.{name}.service is {contact.service!r}, "
                        f"not one of [box.services]: {known}"
                    )
        pins = [
            *(c.pin for c in self.button.contacts.values()),
            *(p for p in (self.button.tamper_pin, self.indicator.lamp_pin) if p is not None),
            *(p for p in (self.indicator.buzzer_pin, self.indicator.beacon_pin) if p is not None),
        ]
        twice = sorted({p for p in pins if pins.count(p) > 1})
        if twice:
            raise ValueError(f"GPIO {twice[0]} is given to two things; each needs a pin of its own")
        uses_sim = "sim" in (self.button.driver, self.audio.driver)
        if uses_sim and self.sim is None:
            raise ValueError("a driver is 'sim' but there is no [sim] with the stage's socket")
        if self.clock.setter == "faketime" and self.clock.faketime_file is None:
            raise ValueError("clock.setter is 'faketime' but clock.faketime_file is not given")
        return self

    def need_box(self) -> Box:
        """The [box] section; raises `ConfigError` when the file is not a box's."""
        if self.box is None:
            raise ConfigError("this needs a box's configuration: the file has no [box] section")
        return self.box

    def need_desk(self) -> Desk:
        """The [desk] section; raises `ConfigError` when the file is not a desk's."""
        if self.desk is None:
            raise ConfigError("this needs a desk's configuration: the file has no [desk] section")
        return self.desk


def load(path: Path) -> Config:
    """Reads and checks a configuration file.

    Raises:
        ConfigError: each fault on a line of its own, as ``FILE:LINE: KEY = VALUE: what is allowed``.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse(raw, str(path))


def parse(raw: bytes, origin: str) -> Config:
    """As `load`, from bytes; `origin` names them in errors."""
    if len(raw) > MAX_BYTES:
        raise ConfigError(f"{origin}: {len(raw)} bytes is longer than a configuration may be ({MAX_BYTES})")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{origin}: byte {error.start} is not UTF-8; save the file as UTF-8") from None
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: a number of thousands of digits is a plain ValueError.
        raise ConfigError(f"{origin}: not TOML: {_one_line(str(error))}") from None
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        faults = (_fault(f, text, origin) for f in error.errors(include_url=False))
        raise ConfigError("\n".join(dict.fromkeys(faults))) from None


def _fault(fault: Any, text: str, origin: str) -> str:
    loc = [str(part) for part in fault["loc"] if part != "[key]"]
    line = _line_of(loc, text)
    where = f"{origin}:{line}" if line else origin
    key = _one_line(".".join(loc))
    if fault["type"] == "missing":
        return f"{where}: {key} is missing: give it a value"
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(loc[-1], _keys_beside(loc), n=1)
        hint = f"did you mean {near[0]}?" if near else "see `edge config show --defaults`"
        return f"{where}: {key} is not a known key: {hint}"
    message = _one_line(fault["msg"].removeprefix("Value error, "), 300)
    if not loc:
        return f"{where}: {message}"
    if isinstance(fault["input"], dict):
        return f"{where}: {key}: {message}"
    return f"{where}: {key} = {_shown(fault['input'])}: {message}"


def _shown(value: Any) -> str:
    try:
        return _one_line(repr(value), 60)
    except (ValueError, RecursionError):
        return "(too long to show)"


def _one_line(text: str, limit: int = 200) -> str:
    """Without control characters, so that each fault is one line whatever the file holds."""
    return "".join(c if c.isprintable() else "?" for c in text)[:limit]


@cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()


def _keys_beside(loc: list[str]) -> list[str]:
    """The keys that are known where an unknown one was found."""
    schema = _schema()
    place: Any = schema
    for part in loc[:-1]:
        place = place.get("properties", {}).get(part) or place.get("additionalProperties") or {}
        for branch in (place, *place.get("anyOf", ())):
            if "$ref" in branch:
                place = schema["$defs"][branch["$ref"].rsplit("/", 1)[1]]
    return list(place.get("properties", ()))


def _line_of(loc: list[str], text: str) -> int | None:
    """The line of a key, or of the nearest table above it that the file has; None when there is none."""
    best: tuple[int, int] | None = None
    for number, path in _lines_with_keys(text):
        if path == loc[: len(path)] and (best is None or len(path) > best[0]):
            best = (len(path), number)
    return best[1] if best else None


def _lines_with_keys(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and full key of each line that looks like a table's head or a key; that is near enough."""
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if words.startswith("["):
            table = _parts(words.strip("[").split("]", 1)[0])
            yield number, table
        elif "=" in words and not words.startswith("#"):
            yield number, table + _parts(words.split("=", 1)[0])


def _parts(key: str) -> list[str]:
    return [part.strip().strip("\"'") for part in key.split(".")]
