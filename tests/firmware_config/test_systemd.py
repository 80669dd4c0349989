"""What lands on the box outside Python: units, users, folders and the example configuration."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge import config
from edge.run import ROLES

ROOT = Path(__file__).parents[2] / "firmware_config"
UNITS = ROOT / "systemd"
SERVICES = [f"edge-{role}" for role in ROLES]
ALL = [*SERVICES, "edge-clock"]
AS_ROOT = ["edge-data"]
"""It gives folders to their users."""
MAX_EXPOSURE = 3.0


def read(name: str) -> dict[str, list[str]]:
    """A unit's settings; each may be given more than once."""
    settings: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if "=" in line and not line.startswith(("#", ";")):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings


def words(unit: dict[str, list[str]], key: str) -> set[str]:
    """Of all its lines; a leading - ("where it is there") is left out."""
    return {word.removeprefix("-") for value in unit.get(key, []) for word in value.split()}


def test_there_is_a_unit_for_every_process_of_a_box_and_the_target_wants_them_all() -> None:
    assert {p.stem for p in UNITS.glob("*.service")} == {*ALL, *AS_ROOT}
    assert words(read("edge.target"), "Wants") == {f"{name}.service" for name in (*ALL, *AS_ROOT)}


@pytest.mark.parametrize("name", SERVICES)
def test_a_process_says_when_it_is_ready_is_watched_and_is_never_given_up(name: str) -> None:
    unit = read(f"{name}.service")
    assert unit["Type"] == ["notify"]
    assert 5 <= int(unit["WatchdogSec"][0]) <= 30
    assert unit["Restart"] == ["always"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert unit["MemoryMax"]
    assert unit["MemorySwapMax"] == ["0"]
    role = name.removeprefix("edge-")
    assert unit["ExecStart"] == [f"/usr/bin/edge run {role} --config /etc/edge/edge.toml"]


@pytest.mark.parametrize("name", ALL)
def test_each_has_a_user_of_its_own_and_the_group_of_the_bus(name: str) -> None:
    unit = read(f"{name}.service")
    assert (unit["User"], unit["Group"]) == ([name], ["edge"])
    users = (ROOT / "sysusers.d/edge.conf").read_text()
    assert re.search(rf"^u\s+{name}\s", users, re.MULTILINE)
    assert re.search(rf"^m\s+{name}\s+edge$", users, re.MULTILINE)


def test_I5_a_memory_limit_never_stops_callbox_and_media_goes_first() -> None:
    callbox, media = read("edge-callbox.service"), read("edge-media.service")
    assert callbox["OOMPolicy"] == ["continue"]
    assert int(callbox["OOMScoreAdjust"][0]) < int(read("edge-uplink.service")["OOMScoreAdjust"][0]) < 0
    assert int(media["OOMScoreAdjust"][0]) > 0


def test_I5_callbox_waits_for_no_other_part() -> None:
    unit = read("edge-callbox.service")
    waits = set().union(*(words(unit, key) for key in ("Requires", "BindsTo", "After", "Wants", "Requisite")))
    assert not any(
        name in waits for name in ("edge-clock.service", "edge-uplink.service", "edge-media.service")
    )
    assert not any("network" in name for name in waits)


def test_I2_without_its_disk_callbox_starts_all_the_same() -> None:
    unit = read("edge-callbox.service")
    assert "RequiresMountsFor" not in unit
    assert not any("mount" in name for name in words(unit, "After")), "nor does it wait for a disk in repair"
    assert "Requires" not in unit
    assert "-/var/lib/edge" in unit["ReadWritePaths"][0].split(), "whole: on a new disk it has no folder yet"


def test_I8_only_uplink_has_a_network_and_nobody_listens() -> None:
    for name in (*ALL, *AS_ROOT):
        unit = read(f"{name}.service")
        if name == "edge-uplink":
            assert words(unit, "RestrictAddressFamilies") == {"AF_UNIX", "AF_INET", "AF_INET6"}
            assert unit["SocketBindDeny"] == ["any"]
        else:
            assert words(unit, "RestrictAddressFamilies") == {"AF_UNIX"}, name
            assert unit["IPAddressDeny"] == ["any"], name
            assert unit["PrivateNetwork"] == ["yes"], name


def test_only_the_clock_step_may_set_the_clock_and_it_comes_before_uplink() -> None:
    for name in SERVICES:
        unit = read(f"{name}.service")
        assert unit["CapabilityBoundingSet"] == [""], name
        assert unit["ProtectClock"] == ["yes"], name
    clock = read("edge-clock.service")
    assert clock["Type"] == ["oneshot"]
    assert clock["CapabilityBoundingSet"] == clock["AmbientCapabilities"] == ["CAP_SYS_TIME"]
    assert "edge-uplink.service" in words(clock, "Before")
    assert "edge-clock.service" in words(read("edge-uplink.service"), "After")
    assert "Requires" not in read("edge-uplink.service"), "a clock that cannot be set keeps no box silent"


def test_each_part_has_its_own_hardware_and_folders_and_nothing_else() -> None:
    callbox, media, uplink = (read(f"edge-{n}.service") for n in ("callbox", "media", "uplink"))
    assert (callbox["DevicePolicy"], callbox["DeviceAllow"]) == (["closed"], ["char-gpiochip rw"])
    assert (media["DevicePolicy"], media["DeviceAllow"]) == (["closed"], ["char-alsa rw"])
    assert uplink["PrivateDevices"] == ["yes"]
    assert words(callbox, "SupplementaryGroups") == {"gpio"}
    assert words(media, "SupplementaryGroups") == {"audio"}
    written = {
        n: words(u, "ReadWritePaths") - {"/run/edge/bus"}
        for n, u in zip("cmu", (callbox, media, uplink), strict=True)
    }
    assert written == {
        "c": {"/run/edge/callbox", "/var/lib/edge"},
        "m": set(),
        "u": {"/var/lib/edge"},
    }
    rows = [line.split() for line in (ROOT / "tmpfiles.d/edge.conf").read_text().splitlines()]
    on_disk = {row[1]: row[2:5] for row in rows if row and row[0] == "d" and "/var/lib/edge" in row[1]}
    assert on_disk == {  # so that of the partition each can write its own folder alone
        "/var/lib/edge": ["0750", "root", "edge"],
        "/var/lib/edge/callbox": ["0750", "edge-callbox", "edge"],
        "/var/lib/edge/uplink": ["0750", "edge-uplink", "edge"],
    }


def test_lgpio_gets_a_folder_it_may_write_its_pipe_into() -> None:
    unit = read("edge-callbox.service")
    assert unit["Environment"] == ["LG_WD=%t/edge-callbox"]
    assert unit["RuntimeDirectory"] == ["edge-callbox"]


def test_every_process_can_read_the_boot_id_that_stands_in_every_record() -> None:
    assert not any("ProcSubset" in read(f"{name}.service") for name in ALL)


def test_media_may_make_the_callbacks_that_its_sound_card_calls() -> None:
    # cffi: "Cannot allocate write+execute memory for ffi.callback()"
    assert "MemoryDenyWriteExecute" not in read("edge-media.service")
    assert read("edge-callbox.service")["MemoryDenyWriteExecute"] == ["yes"]


def test_every_folder_a_unit_writes_is_made_before_it_starts() -> None:
    made = {
        line.split()[1]
        for line in (ROOT / "tmpfiles.d/edge.conf").read_text().splitlines()
        if line[:1] == "d"
    }
    for name in ALL:
        unit = read(f"{name}.service")
        assert words(unit, "ReadWritePaths") <= made, name
        assert "systemd-tmpfiles-setup.service" in words(unit, "After"), name


def test_the_bus_is_closed_to_others_and_the_key_to_all_but_the_uplink() -> None:
    rows = [line.split() for line in (ROOT / "tmpfiles.d/edge.conf").read_text().splitlines()]
    modes = {row[1]: (row[2], row[3], row[4]) for row in rows if row and row[0] in "dz"}
    assert modes["/run/edge"][0] == "0750"
    assert modes["/run/edge/bus"] == ("1770", "root", "edge")
    assert modes["/etc/edge/tls/device.key"] == ("0640", "root", "edge-uplink")
    assert all(mode.endswith("0") for mode, _, _ in modes.values())


def test_the_example_configuration_is_accepted_and_is_a_real_box() -> None:
    example = config.load(ROOT / "edge.toml.example")
    assert (example.button.driver, example.audio.driver) == ("gpio", "sound")
    assert {c.service for c in example.button.contacts.values()} == set(example.need_box().services)


def test_what_the_example_has_commented_out_is_accepted_as_well() -> None:
    text = re.sub(r"^#(?=[\[a-z])", "", (ROOT / "edge.toml.example").read_text(), flags=re.MULTILINE)
    full = config.parse(text.encode(), "example")
    assert full.button.contacts["duress"].silent
    assert full.indicator.beacon_pin is not None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
@pytest.mark.parametrize("name", [*ALL, *AS_ROOT])
def test_the_sandbox_is_rated_safe(name: str) -> None:
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", str(UNITS / f"{name}.service")],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    rating = re.search(r"Overall exposure level for \S+: ([\d.]+)", told.stdout)
    assert rating, told.stderr
    assert float(rating[1]) <= MAX_EXPOSURE


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    for path in UNITS.iterdir():
        text = path.read_text().replace("/usr/bin/edge ", "/bin/true ")  # not installed where this runs
        (tmp_path / path.name).write_text(text)
    told = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir()))], capture_output=True, text=True
    )
    faults = [line for line in told.stderr.splitlines() if "edge" in line]
    assert faults == []
