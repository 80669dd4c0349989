"""The rules of the house: one clock, what may import what, what a build contains, how ./run behaves."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import textwrap
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

# -------------------------------------------------------------------------------------------------- one clock

# Also the reading forms that ruff cannot see. What a module imports under another name is followed.
CLOCKS = {
    "asyncio.get_event_loop().time",
    "asyncio.get_running_loop().time",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "time.ctime",
    "time.gmtime",
    "time.localtime",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "time.strftime",
    "time.time",
    "time.time_ns",
    "uuid.uuid1",
}
# With the moment as an argument these read no clock.
PURE_WITH_ARGUMENTS = {"time.ctime": 1, "time.gmtime": 1, "time.localtime": 1, "time.strftime": 2}


def imported_names(tree: ast.AST) -> dict[str, str]:
    """What each name bound by an import stands for: {'dt': 'datetime', 'now': 'time.time'}."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def clock_readings(source: str) -> list[tuple[int, str]]:
    """The line and the name of everything in a module's source that reads a clock."""
    tree = ast.parse(source)
    names = imported_names(tree)

    def meaning(node: ast.AST) -> str:
        if isinstance(node, ast.Name):
            return names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{meaning(node.value)}.{node.attr}"
        if isinstance(node, ast.Call):
            return f"{meaning(node.func)}()"
        return "?"

    found = [
        (node.lineno, names[alias.asname or alias.name])
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if names.get(alias.asname or alias.name) in CLOCKS
    ]
    pure = {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and len(node.args) >= PURE_WITH_ARGUMENTS.get(meaning(node.func), 99)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or id(node) in pure:
            continue
        name = meaning(node)
        owner = name.split(".")[-2]
        # An event loop goes by many names (loop, self._loop, the_loop); its time() reads CLOCK_MONOTONIC.
        if name in CLOCKS or (node.attr == "time" and owner.rstrip("()").endswith("loop")):
            found.append((node.lineno, name))
    return sorted(set(found))


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()",
        "import time as t\nnow = t.time_ns",
        "from time import monotonic",
        "from time import sleep as wait",
        "from datetime import datetime, UTC\ndatetime.now(UTC)",
        "import datetime as dt\ndt.datetime.utcnow()",
        "import datetime\ndatetime.date.today()",
        "import asyncio\nasyncio.get_running_loop().time()",
        "def f(loop):\n    return loop.time()",
        "class A:\n    def f(self):\n        return self._loop.time()",
        "import time\ntime.strftime('%H')",
        "import time\ntime.gmtime()",
        "import uuid\nuuid.uuid1()",
    ],
)
def test_a_module_that_reads_a_clock_is_seen(source):
    assert clock_readings(source)


@pytest.mark.parametrize(
    "source",
    [
        "def f(loop):\n    loop.call_later(1, print)",
        "import asyncio\nasyncio.sleep(1)",
        "import time\ntime.strftime('%H', time.gmtime(5))",
        "def f(clock):\n    return clock.mono_ns()",
        "from datetime import datetime, UTC\ndatetime.fromtimestamp(5, UTC).time()",
        "from datetime import time",
    ],
)
def test_a_module_that_reads_none_is_left_alone(source):
    assert clock_readings(source) == []


def test_nothing_but_the_clock_reads_a_clock():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted((ROOT / "edge").rglob("*.py"))
        if path != ROOT / "edge/clock.py"
        for line, name in clock_readings(path.read_text())
    ]
    assert found == []


def test_ruff_bans_the_same_clocks_and_the_wait_that_swallows_a_cancellation():
    banned = set(PYPROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])
    reads_without_arguments = {name for name in CLOCKS if "()" not in name} - set(PURE_WITH_ARGUMENTS)
    assert banned == reads_without_arguments | {"asyncio.wait_for"}


# --------------------------------------------------------------------------------------- what may import what

BREACHES = {
    "callbox imports nothing heavy": ("edge/callbox/breach.py", "import numpy\n"),
    "only uplink, desk and the test harness talk to the broker": (
        "edge/media/breach.py",
        "import paho.mqtt.client\n",
    ),
    "the protocol knows nobody": ("edge/protocol/breach.py", "import edge.store\n"),
    "the stores know no process": ("edge/store/breach.py", "import edge.uplink\n"),
    "the cores do no I/O": ("edge/backoff.py", "import socket\n"),
    "processes do not import one another": ("edge/desk/breach.py", "import edge.media\n"),
}


def test_each_breach_of_an_import_contract_is_reported(tmp_path):
    shutil.copytree(ROOT / "edge", tmp_path / "edge", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path, text in BREACHES.values():
        (tmp_path / path).write_text(text)
    told = subprocess.run(
        [shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or "lint-imports", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1, told.stdout + told.stderr
    for contract in BREACHES:
        assert f"{contract} BROKEN" in told.stdout


# -------------------------------------------------------------------------------------- what a build contains


def build_wheel(source: Path, out: Path, **environment: str) -> zipfile.ZipFile:
    """Builds a copy of the project's sources into a wheel, with the setuptools that is installed."""
    clean = {k: v for k, v in os.environ.items() if k != "SOURCE_DATE_EPOCH"}
    subprocess.run(
        [sys.executable, "-c", f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"],
        cwd=source,
        env={**clean, **environment},
        check=True,
        capture_output=True,
    )
    return zipfile.ZipFile(next(out.glob("*.whl")))


@pytest.fixture
def sources(tmp_path):
    """A copy of what a build reads, outside any git repository."""
    copy = tmp_path / "sources"
    shutil.copytree(ROOT / "edge", copy / "edge", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, copy)
    return copy


def stamped_time(wheel: zipfile.ZipFile) -> int:
    names: dict[str, int] = {}
    exec(wheel.read("edge/_build.py"), names)
    return names["BUILD_TIME_UTC"]


def test_a_build_is_stamped_with_source_date_epoch(sources, tmp_path):
    wheel = build_wheel(sources, tmp_path / "out", SOURCE_DATE_EPOCH="1700000000")
    assert stamped_time(wheel) == 1_700_000_000
    assert not (sources / "edge/_build.py").exists(), "the stamp is never written into the sources"


def test_a_build_in_a_checkout_is_stamped_with_its_commit_time(sources, tmp_path):
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t.invalid"]
    subprocess.run([*git, "init", "-q"], cwd=sources, check=True)
    subprocess.run(
        [*git, "commit", "-q", "--allow-empty", "-m", "x"],
        cwd=sources,
        env={**os.environ, "GIT_COMMITTER_DATE": "1600000000 +0000"},
        check=True,
    )
    assert stamped_time(build_wheel(sources, tmp_path / "out")) == 1_600_000_000


def test_a_build_without_git_is_stamped_with_its_own_time(sources, tmp_path):
    before = int(time.time())  # noqa: TID251 - the build's own clock is what is measured
    stamp = stamped_time(build_wheel(sources, tmp_path / "out", GIT_CEILING_DIRECTORIES=str(tmp_path)))
    assert before <= stamp <= int(time.time())  # noqa: TID251


def test_a_wheel_holds_every_file_of_the_package_and_the_command(sources, tmp_path):
    wheel = build_wheel(sources, tmp_path / "out", SOURCE_DATE_EPOCH="1700000000")
    wanted = {
        str(path.relative_to(sources))
        for path in (sources / "edge").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert wanted | {"edge/_build.py"} <= set(wheel.namelist())
    entry_points = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "edge = edge.cli:main" in wheel.read(entry_points).decode()


# ------------------------------------------------------------------------------------------ how ./run behaves


@pytest.fixture
def machine(tmp_path):
    """A pretended machine: its programs are scripts that note how they were called. Returns a runner.

    The runner sources ./run and calls a function of it; it gives back the finished process and the notes.
    """
    programs = tmp_path / "bin"
    programs.mkdir()
    notes = tmp_path / "notes"
    notes.touch()

    def program(name: str, body: str) -> None:
        path = programs / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>{notes}\n{body}\n')
        path.chmod(0o755)

    def run(call: str, uid: int = 0, installed: str = "", **bodies: str):
        program("id", f"echo {uid}")
        program("dpkg-query", "".join(f"echo '{name} installed'\n" for name in installed.split()) + "exit 1")
        program("sudo", "exit 1")
        for name in ("apt-get", "systemctl", "dpkg", "sleep"):
            program(name, "exit 0")
        for name, body in bodies.items():
            program(name.replace("_", "-"), body)
        done = subprocess.run(
            ["bash", "-c", f"source {ROOT}/run; {call}"],
            env={"PATH": f"{programs}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return done, [
            line for line in notes.read_text().splitlines() if line.split()[0] not in ("id", "dpkg-query")
        ]

    return run


def test_run_is_sound_bash():
    subprocess.run(["bash", "-n", str(ROOT / "run"), str(ROOT / ".ci/run")], check=True)


def test_run_says_how_to_use_it():
    done = subprocess.run([ROOT / "run", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "./run demo" in done.stderr


def test_run_leaves_apt_alone_when_nothing_is_missing(machine):
    done, calls = machine("need_packages gcc strace", installed="gcc strace")
    assert (done.returncode, calls) == (0, [])


def test_run_installs_only_what_is_missing_and_waits_for_the_lock(machine):
    done, calls = machine("need_packages gcc strace git", installed="gcc")
    assert done.returncode == 0, done.stderr
    assert calls[-1] == (
        "apt-get -q -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "
        "install -y --no-install-recommends strace git"
    )
    assert not any(" update" in call for call in calls), "the lists were good enough"


def test_run_renews_the_lists_when_they_do_not_know_a_package(machine):
    done, calls = machine("need_packages git", apt_get='[[ " $* " != *" --simulate "* ]]')
    assert done.returncode == 0, done.stderr
    assert ["update" in call for call in calls] == [False, True, False]


def test_run_tries_again_when_a_mirror_is_out_of_reach(machine, tmp_path):
    count = tmp_path / "count"
    done, calls = machine(
        "apt_update",
        apt_get=f"echo x >>{count}; [ $(wc -l <{count}) = 3 ]",
    )
    assert done.returncode == 0
    assert sum("update" in call for call in calls) == 3


def test_run_names_the_command_to_ask_an_administrator_for(machine):
    done, calls = machine("need_packages gcc strace", uid=1000, installed="gcc")
    assert done.returncode == 1
    assert "apt-get install --no-install-recommends strace" in done.stderr
    assert not any(call.startswith("apt-get") for call in calls)


def test_run_uses_sudo_where_it_may(machine):
    done, calls = machine("need_packages git", uid=1000, sudo='[ "$1" != -n ] || shift; exec "$@"')
    assert done.returncode == 0, done.stderr
    assert any(call.startswith("sudo env DEBIAN_FRONTEND=noninteractive apt-get") for call in calls)


def test_run_says_what_to_do_when_apt_fails(machine):
    done, _ = machine("need_packages git", apt_get="exit 100")
    assert done.returncode == 1
    assert "by hand: apt-get install --no-install-recommends git" in done.stderr


def test_run_leaves_no_broker_service_behind(machine):
    done, calls = machine("have_systemd() { true; }; need_packages mosquitto git")
    assert done.returncode == 0, done.stderr
    order = [call for call in calls if "systemctl" in call or "install -y" in call]
    assert [call.split()[1] if call.startswith("systemctl") else "install" for call in order] == [
        "mask",
        "install",
        "unmask",
        "disable",
    ]


def test_run_leaves_a_broker_that_was_there_before_alone(machine):
    done, calls = machine("have_systemd() { true; }; need_packages mosquitto git", installed="mosquitto")
    assert done.returncode == 0, done.stderr
    assert not any("systemctl" in call for call in calls)


SETUP = textwrap.dedent(
    """
    VENV={0}/.venv; PY=$VENV/bin/python; STAMP=$VENV/.edge-stamp; BUSY={0}/.venv.busy
    ROOT={0}; mkdir -p {0}/requirements; touch {0}/requirements/a.lock {0}/{{pyproject.toml,setup.py,run}}
    find_python() {{ echo {1}; }}
    make_venv() {{ echo MADE; mkdir -p $VENV/bin; }}
    venv_works() {{ [ -d $VENV/bin ]; }}
    install_locked() {{ echo INSTALLED; }}
    """
)


def test_the_environment_is_made_once_renewed_when_the_lock_changes_and_made_anew_after_an_interruption(
    machine, tmp_path
):
    setup = SETUP.format(tmp_path, sys.executable)
    first, _ = machine(f"{setup} need_environment")
    again, _ = machine(f"{setup} need_environment")
    changed, _ = machine(f"{setup} echo x >{tmp_path}/requirements/a.lock; need_environment")
    broken, _ = machine(
        f"{setup} echo y >{tmp_path}/setup.py; install_locked() {{ exit 9; }}; need_environment"
    )
    after, _ = machine(f"{setup} need_environment")
    assert [run.stdout.split() for run in (first, again, changed, broken, after)] == [
        ["MADE", "INSTALLED"],
        [],
        ["INSTALLED"],
        [],
        ["MADE", "INSTALLED"],
    ]
    assert broken.returncode == 9
