"""What the bench with a real Pi is told: one TOML file, hil_tests/README.md lists its keys."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, model_validator

from edge.config import Port, Seconds, Section
from hil_tests.bench.bench import BenchError

HeaderPin = Annotated[int, Field(ge=2, le=27)]
"""A BCM GPIO number that the 40-pin header has, without the two of a HAT's memory."""
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
"""A program of this machine and its arguments."""
Interface = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$")]


def _file(path: Path, info: ValidationInfo) -> Path:
    found = _beside(path, info)
    if not found.is_file():
        raise ValueError(f"there is no file {found}")
    return found


def _folder(path: Path, info: ValidationInfo) -> Path:
    found = _beside(path, info)
    if not found.is_dir():
        raise ValueError(f"there is no folder {found}")
    return found


def _beside(path: Path, info: ValidationInfo) -> Path:
    assert isinstance(info.context, Path)
    return info.context / path.expanduser()


File = Annotated[Path, AfterValidator(_file)]
"""A relative one is looked for beside the configuration."""
Folder = Annotated[Path, AfterValidator(_folder)]


class Machine(Section):
    """How to reach the box or the jig by SSH."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$")]
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")]
    """root, or one who may use sudo without a password; on the jig a member of the group gpio."""
    key: File
    """A private key without a passphrase."""
    port: Port = 22


class Wires(Section):
    """Where the wires end on the jig; the defaults are the table of hil_tests/README.md."""

    police: HeaderPin = 4
    women: HeaderPin = 5
    medical: HeaderPin = 6
    lid: HeaderPin = 7
    lamp: HeaderPin = 23
    buzzer: HeaderPin = 24


class _Power(Section):
    off_s: Seconds = 3
    """The box stays without power at least this long: its capacitors hold up some of it."""
    boot_s: Seconds = 120
    """From power to SSH, and from there to armed."""


class JigRelay(_Power):
    """A relay on a line of the jig; high closes it."""

    by: Literal["jig-relay"]
    pin: HeaderPin = 26


class UsbRelay(_Power):
    """A relay or a switched hub on this machine, with a program of its own."""

    by: Literal["usb-relay"]
    on: Words
    off: Words


class InterfaceLink(Section):
    """`ip link` on the box, or on the jig when the box's cable ends there."""

    by: Literal["box", "jig"]
    interface: Interface


class CommandLink(Section):
    """A program of this machine, e.g. one that switches a port of a managed switch."""

    by: Literal["command"]
    up: Words
    down: Words


class PiConfig(Section):
    known_hosts: File
    """Host keys of both, as ssh-keyscan(1) writes them."""
    pki: Folder
    """The CA that the box trusts, as `edge.sim.pki.Pki` has made it."""
    box: Machine
    jig: Machine
    wires: Wires = Wires()
    power: Annotated[JigRelay | UsbRelay, Field(discriminator="by")]
    link: Annotated[InterfaceLink | CommandLink | None, Field(discriminator="by")] = None

    @model_validator(mode="after")
    def _one_wire_each(self) -> PiConfig:
        pins = list(self.wires.model_dump().values())
        if isinstance(self.power, JigRelay):
            pins.append(self.power.pin)
        twice = sorted({pin for pin in pins if pins.count(pin) > 1})
        if twice:
            raise ValueError(f"GPIO {twice[0]} of the jig is given to two wires")
        return self


def load(path: Path) -> PiConfig:
    """Reads and checks it; raises `BenchError` with each fault on a line of its own."""
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BenchError(f"{path}: not TOML: {error}") from None
    try:
        return PiConfig.model_validate(table, context=path.absolute().parent)
    except ValidationError as error:
        raise BenchError("\n".join(f"{path}: {_fault(fault)}" for fault in error.errors())) from None


def _fault(fault: Any) -> str:
    loc = [str(part) for part in fault["loc"]]
    if loc and loc[0] in ("power", "link"):
        del loc[1:2]  # which kind it is; the file does not have that as a table
    key = ".".join(loc)
    if fault["type"] == "extra_forbidden":
        return f"{key} is not a known key: see hil_tests/README.md"
    if fault["type"] == "missing":
        return f"{key} is missing: give it a value"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
