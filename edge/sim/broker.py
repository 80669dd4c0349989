"""A real Mosquitto on a free port of loopback, configured by the centre's reference files.

`firmware_config/centre/` is what a city installs; here only its port, paths, city and desks are replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from edge.errors import SetupFailed
from edge.sim.children import DIES_WITH_PARENT
from edge.sim.pki import Pki

REFERENCE = Path(__file__).parents[2] / "firmware_config" / "centre"
STORE = "mosquitto.db"


def free_port() -> int:
    """A TCP port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configuration(reference: str, replace: Mapping[str, str]) -> str:
    """The reference with the values of some keys replaced; a key it lacks is put in front."""
    left = dict(replace)
    lines = []
    for line in reference.splitlines():
        key = line.split(" ", 1)[0]
        if key in replace:
            line = f"{key} {replace[key]}"
            left.pop(key, None)
        lines.append(line)
    return "\n".join([*(f"{k} {v}" for k, v in left.items()), *lines]) + "\n"


def acl(reference: str, city: str, desks: Iterable[str]) -> str:
    """The reference's rules for this city, with its desk's section once for each desk."""
    boxes, section = re.split(r"^user desk-1$", reference, maxsplit=1, flags=re.MULTILINE)
    sections = (f"user {desk}{section.replace('/desk-1/', f'/{desk}/')}" for desk in desks)
    return re.sub(r" city/v1/", f" {city}/v1/", "\n".join([boxes, *sections]))


class Broker:
    """One Mosquitto. It is started, stopped and killed by hand: a centre's outage is the test's to decide."""

    def __init__(
        self, folder: Path, pki: Pki, city: str, desks: Iterable[str] = ("desk-1",), port: int | None = None
    ) -> None:
        self.port = port or free_port()
        self.log = folder / "mosquitto.log"
        self._folder = folder
        self._pki = pki
        self._city = city
        self._desks = tuple(desks)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    async def start(self, timeout_s: float = 10) -> None:
        """Starts it and waits until it accepts connections.

        Raises:
            SetupFailed: Mosquitto is not installed, or ended, or does not listen in time; with its words.
        """
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise SetupFailed("mosquitto is not installed: apt install mosquitto")
        config = self._write()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(*DIES_WITH_PARENT, program, "-c", str(config)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._listens():
                    if self._process.returncode is not None:
                        break
                    await asyncio.sleep(0.01)
        except TimeoutError:
            await self.kill()
            raise SetupFailed(
                f"mosquitto does not listen on {self.port} after {timeout_s:.0f} s: {self._last_words()}"
            ) from None
        if self._process.returncode is not None:
            raise SetupFailed(f"mosquitto ended at once: {self._last_words()}")

    async def stop(self) -> None:
        """SIGTERM: it writes its store and goes."""
        if self._process is not None and self.pid is not None:
            self._process.terminate()
            try:
                async with asyncio.timeout(5):
                    await self._process.wait()
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """SIGKILL: what it had not yet saved is forgotten."""
        if self._process is not None and self.pid is not None:
            self._process.kill()
            await self._process.wait()

    def wipe_store(self) -> None:
        """Forgets sessions, retained and queued messages; only while it does not run."""
        if self.pid is not None:
            raise SetupFailed("the broker runs: stop or kill it before its store is wiped")
        (self._folder / STORE).unlink(missing_ok=True)

    def _write(self) -> Path:
        folder = self._folder
        identity = self._pki.broker()
        try:
            conf, rules = ((REFERENCE / name).read_text() for name in ("mosquitto.conf", "acl"))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace = {
                "listener": f"{self.port} 127.0.0.1",
                "cafile": str(self._pki.ca),
                "certfile": str(identity.cert),
                "keyfile": str(identity.key),
                "acl_file": str(folder / "acl"),
                "persistence_location": f"{folder}/",
            }
            if os.geteuid() == 0:
                # Started as root it would become the user mosquitto, who may not read these keys.
                replace["user"] = pwd.getpwuid(0).pw_name
            (folder / "acl").write_text(acl(rules, self._city, self._desks))
            (folder / "acl").chmod(0o600)
            (folder / "mosquitto.conf").write_text(configuration(conf, replace))
        except OSError as error:
            raise SetupFailed(f"the broker's configuration cannot be written: {error}") from error
        return folder / "mosquitto.conf"

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return " / ".join(lines[-3:]) or f"nothing in {self.log}"
