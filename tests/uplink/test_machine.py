"""What the kernel tells, on a Pi, on another machine, and on one that words it as nobody expected."""

from __future__ import annotations

import shutil
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.protocol.common import Model, Value
from edge.uplink import machine

FILES = {
    "sys/class/thermal/thermal_zone0/temp": "48312\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "proc/meminfo": "MemTotal:        1917756 kB\nMemAvailable:    1500000 kB\n",
    "proc/loadavg": "0.52 0.58 0.59 1/257 12345\n",
    "proc/uptime": "3600.12 7000.00\n",
    "sys/block/mmcblk0/device/life_time": "0x01 0x02\n",
}


class Facts(Model):
    facts: dict[str, Value]


def root(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def test_a_pi_tells_everything(tmp_path: Path) -> None:
    made = root(tmp_path, dict(FILES))
    facts = machine.read(tmp_path, made)
    assert facts["temp_c"] == 48.3
    assert facts["throttled"] == "undervoltage+throttled"
    assert facts["throttled_since_boot"] == "undervoltage+throttled"
    assert (facts["mem_mb"], facts["mem_free_mb"]) == (1872, 1464)
    assert facts["load1"] == 0.52
    assert facts["wear_pct"] == 20
    assert facts["disk_read_only"] is False
    assert machine.uptime_s(made) == 3600


def test_what_is_not_told_is_left_out(tmp_path: Path) -> None:
    assert set(machine.read(tmp_path, tmp_path)) == {"disk_free_mb", "disk_mb", "disk_read_only"}
    assert machine.uptime_s(tmp_path) == 0


def test_a_disk_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    assert machine.read(tmp_path / "absent", tmp_path) == {"disk_readable": False}


CONTENT = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        ["nan", "inf", "-", "--5", "²", "0x", "zz zz", "1e999 1", "MemTotal:\n", "MemTotal: ² kB", "-5"]
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(sorted(FILES)), CONTENT))
def test_whatever_a_kernel_says_costs_no_heartbeat(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    shutil.rmtree(tmp_path / "root", ignore_errors=True)
    made = root(tmp_path / "root", files)
    Facts.model_validate({"facts": machine.read(tmp_path, made)})
    assert machine.uptime_s(made) >= 0
