"""What the kernel tells of the machine, for the heartbeat. What it does not tell is left out."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

Facts = dict[str, str | float | int | bool | None]

# The Raspberry Pi firmware's flags: bits 0 to 3 hold now, bits 16 to 19 have held since boot.
_THROTTLED = ("undervoltage", "frequency_capped", "throttled", "soft_temperature_limit")


def read(data: Path, root: Path = Path("/")) -> Facts:
    """Temperature, throttling, memory, load, disk space and wear; never raises."""
    facts: Facts = {}
    for part in (_temperature, _throttling, _memory, _load, _wear):
        # A kernel that words it in another way costs that one fact, and not the heartbeat.
        with contextlib.suppress(ValueError, IndexError, OSError):
            facts.update(part(root))
    facts.update(_disk(data))
    return facts


def uptime_s(root: Path = Path("/")) -> int:
    try:
        return max(0, int(float(_text(root / "proc/uptime").split()[0])))
    except (ValueError, IndexError, OverflowError):
        return 0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _temperature(root: Path) -> Facts:
    text = _text(root / "sys/class/thermal/thermal_zone0/temp")
    return {"temp_c": round(int(text) / 1000, 1)} if text else {}


def _throttling(root: Path) -> Facts:
    text = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    flags = int(text, 16)
    now = [name for bit, name in enumerate(_THROTTLED) if flags >> bit & 1]
    since_boot = [name for bit, name in enumerate(_THROTTLED) if flags >> (bit + 16) & 1]
    return {"throttled": "+".join(now), "throttled_since_boot": "+".join(since_boot)}


def _memory(root: Path) -> Facts:
    fields = dict(line.split(":", 1) for line in _text(root / "proc/meminfo").splitlines() if ":" in line)
    found: Facts = {}
    for key, name in (("MemAvailable", "mem_free_mb"), ("MemTotal", "mem_mb")):
        words = fields.get(key, "").split()
        if words and words[0].isdecimal():
            found[name] = int(words[0]) // 1024
    return found


def _load(root: Path) -> Facts:
    load = float(_text(root / "proc/loadavg").split()[0])
    return {"load1": load} if math.isfinite(load) else {}


def _disk(data: Path) -> Facts:
    try:
        stat = os.statvfs(data)
    except OSError:
        return {"disk_readable": False}
    return {
        "disk_free_mb": stat.f_bavail * stat.f_frsize // 2**20,
        "disk_mb": stat.f_blocks * stat.f_frsize // 2**20,
        "disk_read_only": bool(stat.f_flag & os.ST_RDONLY),
    }


def _wear(root: Path) -> Facts:
    """eMMC life time estimates (JEDEC eMMC 5.0, tenths of the life used); SD cards do not tell theirs."""
    for device in sorted((root / "sys/block").glob("mmcblk?")):
        words = _text(device / "device/life_time").split()
        if len(words) == 2:
            worst = max(int(word, 16) for word in words)
            return {"wear_pct": min(worst * 10, 100)}
    return {}
