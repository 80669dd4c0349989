"""The bench with a real Pi, with everything real but the Pi: `ssh` runs the other machine's command here, and
lgpio is a module that keeps the levels in files."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.clock import SystemClock
from hil_tests.bench.bench import BUTTONS, LID, OUTPUTS, BenchError
from hil_tests.bench.pi import PiBench
from hil_tests.bench.pi_config import JigRelay, Wires, load

README = Path(__file__).resolve().parents[2] / "hil_tests/README.md"

SSH = """#!/bin/sh
echo "$*" | head -n 1 >>"$WORLD/ssh.log"
while :; do
    case $1 in
    -M) master=1; shift ;;
    -N | -T) shift ;;
    -o) case $2 in ControlPath=*) socket=${2#*=} ;; esac; shift 2 ;;
    -*) shift 2 ;;
    *) break ;;
    esac
done
host=$1; shift
if [ -e "$WORLD/refused" ] && [ $host = "$(head -n 1 "$WORLD/refused")" ]; then
    tail -n 1 "$WORLD/refused" >&2
    exit 255
fi
if [ $host = box ] && [ "$(cat "$WORLD/gpio/26")" != 1 ]; then
    echo "ssh: connect to host box port 22: No route to host" >&2
    exit 255
fi
if [ "$master" ]; then
    : >"$socket"
    exec sleep 600
fi
if [ ! -e "$socket" ]; then
    echo "there is no master" >&2
    exit 255
fi
ON=$host SSH_CONNECTION="192.0.2.1 50000 192.0.2.2 22" exec sh -c "$*"
"""

LGPIO = """
import os, pathlib, sys

WORLD = pathlib.Path(os.environ["WORLD"])
SET_OPEN_DRAIN, SET_PULL_DOWN, SET_PULL_NONE = 8, 64, 128
CHIPS = {0: "raspberrypi-exp-gpio", 4: "pinctrl-rp1"}
reads = {}

class error(Exception):
    pass

def log(*words):
    with (WORLD / "gpio.log").open("a") as file:
        print(*words, file=file)

def gpiochip_open(number):
    if number not in CHIPS:
        raise error("can not open gpiochip")
    return number

def gpiochip_close(handle):
    pass

def gpio_get_chip_info(handle):
    return [0, 54, f"gpiochip{handle}", CHIPS[handle]]

def claim(number):
    if (WORLD / "busy").exists() and (WORLD / "busy").read_text() == str(number):
        raise error("GPIO busy")

def gpio_claim_output(handle, number, level=0, flags=0):
    claim(number)
    log("output", number, level, flags)

def gpio_claim_input(handle, number, flags=0):
    claim(number)
    log("input", number, flags)

def gpio_write(handle, number, level):
    assert handle == 4
    log(number, level)
    (WORLD / f"gpio/{number}").write_text(str(level))

def gpio_read(handle, number):
    if (WORLD / "dying").exists():
        print("the jig is on fire", file=sys.stderr, flush=True)
        os._exit(1)
    levels = (WORLD / f"gpio/{number}").read_text()
    at = reads[number] = min(reads.get(number, -1) + 1, len(levels) - 1)
    return int(levels[at])
"""

PROGRAMS = {
    "ssh": SSH,
    "sudo": '#!/bin/sh\necho "sudo on $ON" >>"$WORLD/log"\n[ "$1" = -n ] && shift\nexec "$@"\n',
    "journalctl": "#!/bin/sh\necho started\n",
    "ip": '#!/bin/sh\necho "$ON: ip $*" >>"$WORLD/log"\ncat "$WORLD/addresses"\n[ ! -e "$WORLD/no-ip" ]\n',
    "date": '#!/bin/sh\necho "$ON: date $*" >>"$WORLD/log"\n',
    "systemctl": '#!/bin/sh\n[ "$1" != status ] || echo "callbox: cannot open the journal"\n'
    '[ ! -e "$WORLD/unarmed" ]\n',
    # The kernel's boot id: another one each time that the power came.
    "cat": '#!/bin/sh\n[ "$1" = /proc/sys/kernel/random/boot_id ] || exec /bin/cat "$@"\n'
    '[ -e "$WORLD/reset" ] && echo another && exit\n'
    '[ -e "$WORLD/glued" ] && echo 1 || grep -c "^26 1$" "$WORLD/gpio.log"\n',
}

CONFIG = """
known_hosts = "hosts"
pki = "pki"

[box]
host = "box"
user = "pi"
key = "key"

[jig]
host = "jig"
user = "pi"
key = "key"

[power]
by = "jig-relay"
off_s = 0.01

[link]
by = "box"
interface = "wlan0"
"""


class World:
    """A folder with the programs and files that stand for two Pis."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "bench.toml"

    def has(self, name: str, text: str = "") -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name

    def read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def level(self, line: int) -> str:
        return self.read(f"gpio/{line}")

    def written(self, line: int) -> list[int]:
        return [int(level) for level in re.findall(rf"^{line} (.)$", self.read("gpio.log"), re.MULTILINE)]

    def bench(self, old: str = "", new: str = "") -> PiBench:
        """With the configuration above, in which `new` stands for `old`."""
        assert old in CONFIG
        self.config.write_text(CONFIG.replace(old, new))
        return PiBench(load(self.config))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name in ("bin", "gpio", "python", "pki"):
        (tmp_path / name).mkdir()
    for name, text in PROGRAMS.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "python/lgpio.py").write_text(LGPIO)
    (tmp_path / "gpio/26").write_text("0")
    (tmp_path / "addresses").write_text("2: wlan0    inet 192.0.2.77/24 brd 192.0.2.255 scope global wlan0\n")
    for name in ("key", "hosts"):
        (tmp_path / name).touch()
    monkeypatch.setenv("WORLD", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return World(tmp_path)


@pytest.fixture
async def bench(world: World) -> AsyncIterator[PiBench]:
    bench = world.bench()
    await bench.start()
    yield bench
    await bench.close()


# -- hands and eyes ----------------------------------------------------------------------------------


async def test_at_the_start_all_contacts_are_open_and_float_and_the_power_comes_last(
    world: World, bench: PiBench
) -> None:
    assert world.read("gpio.log").splitlines() == [
        *(f"output {line} 1 {8 | 128}" for line in (4, 5, 6, 7)),
        *(f"input {line} 64" for line in (23, 24)),
        "output 26 0 0",
        "26 0",
        "26 1",
    ]


async def test_a_press_pulls_its_wire_to_ground_and_lets_it_go_and_tells_the_jigs_time(
    world: World, bench: PiBench
) -> None:
    clock = SystemClock()
    before_ns = clock.mono_ns()
    at_ns = await bench.press("women", hold_s=0.001)
    assert world.written(5) == [0, 1]
    assert before_ns < at_ns < clock.mono_ns()


async def test_a_contact_that_is_held_stays_closed_through_a_cut_until_it_is_released(
    world: World, bench: PiBench
) -> None:
    await bench.press("police", hold_s=None)
    await bench.cut()
    assert not bench.powered
    await bench.restore()
    assert bench.powered
    assert bench.held == ["police"]
    assert world.written(4) == [0]
    await bench.release("police")
    assert bench.held == []
    assert world.written(4) == [0, 1]


@pytest.mark.parametrize("spans", [[0.5, 0.3], [0.5, 0.3, 0.2]])
async def test_a_contact_that_bounces_begins_closed_and_ends_open(
    world: World, bench: PiBench, spans: list[float]
) -> None:
    await bench.bounce("medical", spans)
    assert world.written(6) == [*([0, 1] * 2)[: len(spans)], 1]


async def test_the_lid_closes_its_contact(world: World, bench: PiBench) -> None:
    await bench.lid(is_open=False)
    await bench.lid(is_open=True)
    assert world.written(7) == [0, 1]


async def test_what_is_watched_begins_with_each_level_and_goes_on_with_the_changes(
    world: World, bench: PiBench
) -> None:
    world.has("gpio/23", "0011100")
    world.has("gpio/24", "1")
    seen = await bench.watch(0.5, "lamp", "buzzer")
    assert [edge.level for edge in seen if edge.output == "lamp"] == [0, 1, 0]
    assert [edge.level for edge in seen if edge.output == "buzzer"] == [1]
    times = [edge.at_ns for edge in seen]
    assert times == sorted(times)


async def test_a_press_is_made_while_an_output_is_watched(world: World, bench: PiBench) -> None:
    world.has("gpio/23", "0")
    watching = asyncio.create_task(bench.watch(3600, "lamp"))
    await bench.press("police", hold_s=0.001)
    assert not watching.done()
    watching.cancel()


async def test_a_button_that_does_not_exist_is_refused(bench: PiBench) -> None:
    with pytest.raises(BenchError, match="no button 'fire', only police, women, medical"):
        await bench.press("fire")


# -- the agent ---------------------------------------------------------------------------------------


async def test_a_line_that_another_program_holds_is_named_and_the_next_bench_can_start(world: World) -> None:
    busy = world.has("busy", "24")
    with pytest.raises(
        BenchError, match=r"GPIO 24 cannot be claimed, does another program hold it. GPIO busy"
    ):
        await world.bench().start()
    busy.unlink()
    bench = world.bench()
    await bench.start()
    await bench.close()


async def test_a_jig_without_lgpio_is_told_what_to_install(world: World) -> None:
    (world.folder / "python/lgpio.py").write_text("raise ImportError('no module named lgpio')")
    with pytest.raises(BenchError, match=r"the agent on the jig is gone: .*apt install python3-lgpio"):
        await world.bench().start()


async def test_a_jig_whose_header_cannot_be_opened_is_told_of_the_group(world: World) -> None:
    (world.folder / "python/lgpio.py").write_text(LGPIO.replace("pinctrl-rp1", "something else"))
    with pytest.raises(BenchError, match="in the group gpio"):
        await world.bench().start()


async def test_when_the_agent_dies_every_order_says_so_and_so_does_the_end(world: World) -> None:
    bench = world.bench()
    await bench.start()
    world.has("gpio/23", "0")
    world.has("dying")
    for order in (bench.watch(5, "lamp"), bench.release("police"), bench.close()):
        with pytest.raises(BenchError, match="the agent on the jig is gone: the jig is on fire"):
            await order


async def test_at_the_end_the_box_is_off_and_every_contact_is_open(world: World) -> None:
    bench = world.bench()
    await bench.start()
    await bench.press("police", hold_s=None)
    await bench.lid(is_open=False)
    await bench.close()
    assert [world.level(line) for line in (4, 5, 6, 7, 26)] == ["1", "1", "1", "1", "0"]
    with pytest.raises(BenchError, match="has not been started"):
        await bench.press("police")


async def test_a_bench_can_be_started_again(world: World) -> None:
    bench = world.bench()
    for _ in range(2):
        await bench.start()
        await bench.close()
    assert world.written(26).count(1) == 2


# -- power -------------------------------------------------------------------------------------------


async def test_a_cut_ends_the_connection_and_another_one_is_made_when_the_power_is_back(
    world: World, bench: PiBench
) -> None:
    await bench.cut()
    assert world.level(26) == "0"
    with pytest.raises(BenchError, match="No route to host"):
        await bench.sh("true", check=False)
    await bench.restore()
    assert await bench.sh("echo it is back") == "it is back\n"


async def test_a_connection_that_is_lost_while_a_command_runs_is_told_whoever_checks(bench: PiBench) -> None:
    with pytest.raises(BenchError, match="the box: the connection is gone: Broken pipe"):
        await bench.sh("echo Broken pipe >&2; exit 255", check=False)


async def test_a_relay_that_does_not_cut_is_found_out(world: World, bench: PiBench) -> None:
    world.has("glued")
    await bench.cut()
    with pytest.raises(BenchError, match="has not booted anew: the relay does not cut its power"):
        await bench.restore()


async def test_a_box_that_was_reset_by_its_watchdog_has_booted_anew(world: World, bench: PiBench) -> None:
    with pytest.raises(BenchError, match="was not reset within 0 s"):
        await bench.wait_for_reset(0.1)
    world.has("reset")
    await bench.wait_for_reset(5)


async def test_a_box_that_is_not_reached_in_time_is_told_with_the_words_of_ssh(world: World) -> None:
    world.has("refused", "box\nssh: connect to host box port 22: Connection refused")
    bench = world.bench("off_s = 0.01", "off_s = 0.01\nboot_s = 0.01")
    with pytest.raises(BenchError, match=r"the box \(box\) cannot be reached: .*Connection refused"):
        await bench.start()


async def test_a_key_that_is_refused_is_not_waited_for(world: World) -> None:
    world.has("refused", "box\npi@box: Permission denied (publickey).")
    bench = world.bench("off_s = 0.01", "off_s = 0.01\nboot_s = 86400")
    with pytest.raises(BenchError, match="Permission denied"):
        await bench.start()
    assert world.level(26) == "0", "a bench that did not start leaves no power on"


async def test_a_box_that_is_not_armed_tells_the_state_of_callbox(world: World) -> None:
    world.has("unarmed")
    bench = world.bench("off_s = 0.01", "off_s = 0.01\nboot_s = 0.2")
    with pytest.raises(BenchError, match="cannot open the journal"):
        await bench.start()


async def test_a_usb_relay_is_switched_by_its_programs(world: World) -> None:
    relay = f"""by = "usb-relay"
on = ["sh", "-c", "echo 26 1 >>{world.folder}/gpio.log; printf 1 >{world.folder}/gpio/26"]
off = ["sh", "-c", "printf 0 >{world.folder}/gpio/26"]"""
    bench = world.bench('by = "jig-relay"', relay)
    await bench.start()
    assert "output 26" not in world.read("gpio.log"), "the jig has no relay then"
    await bench.close()
    assert world.level(26) == "0"


async def test_a_usb_relay_that_cannot_be_switched_says_why(world: World) -> None:
    bench = world.bench(
        'by = "jig-relay"',
        'by = "usb-relay"\non = ["true"]\noff = ["sh", "-c", "echo no relay found >&2; exit 3"]',
    )
    with pytest.raises(BenchError, match="no relay found"):
        await bench.start()


async def test_a_usb_relay_whose_program_is_not_there_says_so(world: World) -> None:
    bench = world.bench('by = "jig-relay"', 'by = "usb-relay"\non = ["true"]\noff = ["usbrelay-none"]')
    with pytest.raises(BenchError, match="usbrelay-none cannot be run: No such file"):
        await bench.start()


# -- link --------------------------------------------------------------------------------------------


async def test_the_link_of_the_box_is_switched_on_the_box_as_root(world: World, bench: PiBench) -> None:
    await bench.link(up=False)
    await bench.link(up=True)
    said = [line for line in world.read("log").splitlines() if "ip link" in line]
    assert said == ["box: ip link set dev wlan0 down", "box: ip link set dev wlan0 up"]


async def test_the_link_that_ssh_goes_over_is_not_taken_down(world: World, bench: PiBench) -> None:
    world.has("addresses", "2: wlan0    inet 192.0.2.2/24 brd 192.0.2.255 scope global wlan0\n")
    with pytest.raises(BenchError, match="SSH to the box goes over its wlan0"):
        await bench.link(up=False)
    assert "down" not in world.read("log")


async def test_the_link_of_the_jig_is_switched_on_the_jig(world: World) -> None:
    bench = world.bench('by = "box"', 'by = "jig"')
    await bench.start()
    await bench.link(up=False)
    world.has("no-ip")
    with pytest.raises(BenchError, match="on the jig: ip link set dev wlan0"):
        await bench.link(up=True)
    await bench.close()
    assert "jig: ip link set dev wlan0 down" in world.read("log")


async def test_a_switch_is_told_by_its_programs(world: World) -> None:
    bench = world.bench(
        'by = "box"\ninterface = "wlan0"',
        f'by = "command"\nup = ["false"]\ndown = ["touch", "{world.folder}/port-is-down"]',
    )
    await bench.start()
    await bench.link(up=False)
    assert (world.folder / "port-is-down").exists()
    with pytest.raises(BenchError, match=r"^false: "):
        await bench.link(up=True)
    await bench.close()


async def test_without_a_way_to_pull_the_cable_the_bench_says_so(world: World) -> None:
    bench = world.bench('[link]\nby = "box"\ninterface = "wlan0"')
    await bench.start()
    with pytest.raises(BenchError, match=r"has no \[link\]"):
        await bench.link(up=False)
    await bench.close()


# -- inside the box ----------------------------------------------------------------------------------


async def test_a_command_runs_as_root_in_the_box_and_its_output_comes_back(
    world: World, bench: PiBench
) -> None:
    world.has("log")
    assert await bench.sh("""echo "$ON's" 'a  b' | tr a-z A-Z; echo not this >&2""") == "BOX'S A  B\n"
    assert world.read("log") == "sudo on box\n"


async def test_who_is_root_already_needs_no_sudo(world: World) -> None:
    bench = world.bench('user = "pi"', 'user = "root"')
    await bench.start()
    await bench.sh("true")
    await bench.close()
    assert "sudo" not in world.read("log")


async def test_a_command_that_fails_is_raised_with_its_words_unless_nobody_checks(bench: PiBench) -> None:
    with pytest.raises(BenchError, match=r"in the box: echo out; .*: out\nwrong"):
        await bench.sh("echo out; echo wrong >&2; exit 3")
    assert await bench.sh("echo out; exit 3", check=False) == "out\n"


async def test_a_command_that_takes_too_long_is_ended(world: World, bench: PiBench) -> None:
    with pytest.raises(BenchError, match=r"the box: not done within 0.05 s: sleep 600"):
        await bench.sh("sleep 600", timeout_s=0.05, check=False)


async def test_a_file_is_written_as_it_is(world: World, bench: PiBench) -> None:
    path = world.folder / "it's a file"
    await bench.write(str(path), text := 'a "line"\n$HOME \\ मदद\n')
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o644


async def test_a_file_that_cannot_be_written_is_named(bench: PiBench) -> None:
    with pytest.raises(BenchError, match="/no/such/folder/x cannot be written: "):
        await bench.write("/no/such/folder/x", "")


async def test_the_clock_is_set_in_the_box(world: World, bench: PiBench) -> None:
    await bench.set_clock(1_800_000_000.25)
    assert "box: date -s @1800000000.250" in world.read("log")


# -- ssh ---------------------------------------------------------------------------------------------


async def test_ssh_never_asks_trusts_only_the_known_hosts_and_reads_no_file_of_the_user(
    world: World, bench: PiBench
) -> None:
    for line in world.read("ssh.log").splitlines():
        assert line.startswith(f"-F none -T -i {world.folder}/key -p 22 ")
        for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"):
            assert f"-o {option} " in line
        assert f"-o UserKnownHostsFile={world.folder}/hosts " in line


async def test_all_commands_go_over_one_connection(world: World, bench: PiBench) -> None:
    for _ in range(3):
        await bench.sh("true")
    asked = world.read("ssh.log").splitlines()
    assert len([line for line in asked if " -M " in line and line.endswith(" box")]) == 1


async def test_a_machine_without_ssh_is_told_what_to_install(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(world.folder))
    with pytest.raises(BenchError, match="apt install openssh-client"):
        await world.bench().start()


# -- the configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('user = "pi"', 'user = "pi"\npassword = "x"', "box.password is not a known key"),
        ("off_s = 0.01", "of_s = 1", "power.of_s is not a known key"),
        ("[link]", "[lnk]", "lnk is not a known key"),
        ('interface = "wlan0"', "", "link.interface is missing"),
        ('host = "box"', "", "box.host is missing"),
        ('host = "box"', 'host = "-oProxyCommand=x"', "box.host: "),
        ('interface = "wlan0"', 'interface = "-x"', "link.interface: "),
        ('key = "key"', 'key = "no-key"', "box.key: there is no file /"),
        ('known_hosts = "hosts"', "", "known_hosts is missing"),
        ('by = "jig-relay"', 'by = "hand"', "power: .*'jig-relay', 'usb-relay'"),
        ('by = "jig-relay"', 'by = "usb-relay"\non = ["true"]', "power.off is missing"),
        ('by = "jig-relay"', 'by = "usb-relay"\non = []\noff = ["true"]', "power.on: "),
        ("off_s = 0.01", "off_s = 0", "power.off_s: "),
        ("[link]", "[wires]\nlamp = 28\n[link]", "wires.lamp: "),
        ("[link]", "[wires]\nlamp = 26\n[link]", "GPIO 26 of the jig is given to two wires"),
        ("[box]", "[box", "not TOML: "),
    ],
)
def test_a_fault_of_the_configuration_is_named_with_its_key(
    world: World, old: str, new: str, fault: str
) -> None:
    with pytest.raises(BenchError, match=rf"(?m)^{re.escape(str(world.config))}: {fault}"):
        world.bench(old, new)


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"none.toml: cannot be read: No such file"):
        load(tmp_path / "none.toml")


# -- the document ------------------------------------------------------------------------------------

HEADER = {2: 3, 3: 5, 4: 7, 17: 11, 27: 13, 22: 15, 10: 19, 9: 21, 11: 23, 5: 29, 6: 31, 13: 33, 19: 35}
HEADER |= {
    26: 37,
    14: 8,
    15: 10,
    18: 12,
    23: 16,
    24: 18,
    25: 22,
    8: 24,
    7: 26,
    12: 32,
    16: 36,
    20: 38,
    21: 40,
}
"""BCM number -> number of the pin on the 40-pin header."""


def test_the_wiring_table_of_the_readme_is_the_wiring_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\d+) \| (\d+) \|", README.read_text(), re.MULTILINE)
    told = {name: (box, int(jig)) for name, box, _, jig, _ in rows}
    wires = Wires().model_dump()
    lines = {**BUTTONS, "lid": LID, **OUTPUTS}
    expected = {name: (str(line), wires[name]) for name, line in lines.items()}
    assert told == {**expected, "power": ("-", JigRelay(by="jig-relay").pin)}
    for _, box, box_pin, jig, jig_pin in rows:
        assert HEADER[int(jig)] == int(jig_pin)
        assert (box, box_pin) == ("-", "-") or HEADER[int(box)] == int(box_pin)


def test_the_configuration_of_the_readme_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    for name in ("id_bench", "known_hosts"):
        (tmp_path / name).touch()
    (tmp_path / "pki").mkdir()
    (tmp_path / "bench.toml").write_text(text)
    load(tmp_path / "bench.toml")


async def test_the_session_of_the_readme_runs(world: World) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    world.bench()
    world.has("gpio/23", "01")
    world.has("gpio/24", "0")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", text.replace("watch(5,", "watch(0.5,").replace("sleep(1)", "sleep(0)")),
        cwd=world.folder,
        env={**os.environ, "PYTHONPATH": f"{README.parents[1]}:{os.environ['PYTHONPATH']}"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    said = re.sub(r"[+-]\d+ ms", "MS", out.decode()).splitlines()
    assert sorted(said) == sorted(["lamp 0 at MS", "lamp 1 at MS", "buzzer 0 at MS", "started", ""])
