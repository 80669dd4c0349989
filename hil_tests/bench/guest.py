"""The guest: the image with a box's configuration and certificates, and its state saved for a quick start."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edge.sim.pki import HOST_OF_GUEST, Pki
from hil_tests.bench.bench import BenchError
from hil_tests.bench.qemu import Machine, Qemu, accelerator
from images import build

ROOT = Path(__file__).resolve().parents[2]
PORT = 18883
"""Of the host, where the box in the image looks for its broker."""
HOLD = "systemd.unit=bench-hold.target"
_CHANGES = {
    "host": f'"{HOST_OF_GUEST}"',
    "port": str(PORT),
    # The simulated lines take a bias that is set for a hand at the contact: a button that is held while the
    # box starts would be let go.
    "bias": '"external"',
}
_MORE = """
# One box is no city, and whoever cuts its power wants to see it come back.
first_spread_s = 0
retry_max_s = 2
health_s = 5
"""
_STARTED = """
until systemctl is-active -q bench-hold.target; do
    systemctl list-units --failed --no-legend --plain 'bench-*' | grep . && exit 1
    sleep 0.5
done
until systemctl list-jobs --no-legend | wc -l | grep -qx 0; do sleep 0.5; done
"""
_WARM = (
    'cd / && python3 -I -c \'import sys; sys.path.insert(0, "/usr/lib/edge"); '
    "import edge.callbox.main, edge.uplink.main, edge.media.main' ; sync"
)


@dataclass(frozen=True)
class Guest:
    machine: Machine
    pki: Path
    state: Path
    """Its memory, everything started but the product."""
    overlay: Path
    """Its root disk at that moment."""


async def guest() -> Guest:
    """Builds what is not there yet.

    Raises:
        BenchError: it cannot be built here; the text says what is missing.
    """
    if reason := missing():
        raise BenchError(reason)
    pki = build.cache() / "pki"
    made = Pki(pki)
    config = _config()
    device = re.search(r'^device = "(.*)"', config, re.MULTILINE)
    assert device is not None
    identity = made.client(device[1])
    files = {
        "etc/edge/edge.toml": config.encode(),
        "etc/edge/tls/ca.pem": made.ca.read_bytes(),
        "etc/edge/tls/device.pem": identity.cert.read_bytes(),
        "etc/edge/tls/device.key": identity.key.read_bytes(),
    }

    def lay_over(tree: Path) -> None:
        for name, data in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(data)

    try:
        folder = build.bench(lay_over, hashlib.sha256(b"\0".join(files.values())).hexdigest())
    except build.BuildError as error:
        raise BenchError(str(error)) from error
    machine = Machine(folder / "vmlinuz", folder / "initrd", folder / "root.img")
    state = folder / f"state.{accelerator(machine)}"
    overlay = state.with_suffix(f"{state.suffix}.qcow2")
    if not state.exists():
        await _save(machine, folder / "saving", state, overlay)
    return Guest(machine, pki, state, overlay)


def missing() -> str:
    """Why there can be no guest on this machine; "" when there can."""
    absent = [name for name in ("qemu-system-x86_64", "qemu-img") if not shutil.which(name)]
    if absent:
        return f"not installed: {' '.join(absent)} (apt install qemu-system-x86 qemu-utils)"
    return build.missing()


def out_of_reach() -> str:
    """What of Debian's part of the guest cannot be had now; "" when it is there, for it is kept."""
    try:
        build.debian()
        build.kernel()
    except build.BuildError as error:
        return str(error)
    return ""


def _config() -> str:
    """The example that technicians start from, with the bench's broker in it."""
    text = (ROOT / "firmware_config/edge.toml.example").read_text()
    for key, value in _CHANGES.items():
        text, count = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        if count != 1:
            raise BenchError(f"edge.toml.example has {count} lines `{key} =`, not 1")
    return text.replace("[uplink]\n", f"[uplink]{_MORE}", 1)


async def _sh(qemu: Qemu, command: str, timeout_s: float) -> None:
    done = await qemu.order(timeout_s=timeout_s + 10, sh=command, timeout=timeout_s)
    if done["rc"]:
        raise BenchError(f"the guest does not start: {(done['out'] + done['err'])[-800:]}")


async def _save(machine: Machine, folder: Path, state: Path, overlay: Path) -> None:
    qemu = Qemu(machine, folder)
    await qemu.start(append=HOLD)
    try:
        await _sh(qemu, _STARTED, 240)
        await _sh(qemu, _WARM, 120)
        draft = state.with_suffix(f"{state.suffix}.draft")
        await qemu.save(draft)
    finally:
        qemu.kill()
        await qemu.wait()
    shutil.move(folder / "guest.qcow2", overlay)
    draft.rename(state)
    shutil.rmtree(folder)
