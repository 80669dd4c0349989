"""Builds the system of a box: Debian, the product's wheel, its units, users and mounts. One recipe.

`bench` makes what the virtual bench starts: kernel, initrd and a root file system for
x86_64, with the bench's own devices and agent laid over it. The SD-card image of a Raspberry Pi is to come
from the same recipe.

Three layers, each kept by its content: Debian (`debian`), the kernel (`kernel`) and the product with all that
is laid over (`bench`). A change of the product rebuilds the last alone, in about half a minute.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SUITE, PYTHON = "bookworm", "3.11"
"""What Raspberry Pi OS is built from, and its Python."""
KERNEL_SUITES = ("testing", "unstable")
"""gpio-sim is not in the kernels of Debian 12 and 13. Versions there disappear, so the newest is taken."""
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "udev", "kmod", "iproute2", "e2fsprogs", "procps", "ca-certificates",
    "python3", "python3-systemd", "libportaudio2", "busybox-static",
)  # fmt: skip
FROM_DEBIAN = {"systemd-python"}
"""In the lock, but taken from Debian: it has no wheels."""
PLATFORM = "x86_64-manylinux_2_36"
MODULES = ("virtio_pci", "virtio_blk", "ext4")
"""What the initrd loads."""
NOT_NEEDED = ("gpu", "wireless", "infiniband", "isdn", "dvb-*", "staging", "iio", "scsi", "ata", "hwmon")
"""Folders of the kernel's modules that a guest has no use for. What needs one of them goes too, as ata needs
scsi: udev would try it for each device, in vain, while the box boots."""
ROOT_MB = 1200
OWNERS = """set -e
install -d -m 0750 -g edge /etc/edge
install -d -m 0750 -g edge-uplink /etc/edge/tls
find /etc/edge -maxdepth 1 -type f -exec chown root:edge {} + -exec chmod 0640 {} +
find /etc/edge/tls -type f -exec chown root:edge-uplink {} + -exec chmod 0640 {} +
"""
"""As tmpfiles.d has it, which cannot do it on a root that is read-only."""
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
for module in $(/bin/busybox cat /modules/order); do /bin/busybox insmod /modules/$module; done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do /bin/busybox usleep 50000; tries=$((tries+1)); done
/bin/busybox mount -t ext4 -o ro,noatime /dev/vda /root || exec /bin/busybox sh
/bin/busybox mount --move /dev /root/dev
/bin/busybox umount /proc /sys
exec /bin/busybox switch_root /root /lib/systemd/systemd
"""


class BuildError(Exception):
    """The image cannot be built here; the text says what is missing."""


def cache() -> Path:
    """Where what was built is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-images"


def missing() -> str:
    """Why no image can be built on this machine; "" when it can."""
    programs = ("mmdebstrap", "mke2fs", "busybox", "dpkg-deb", "depmod", "apt-get")
    absent = [
        name
        for name in programs
        if not shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    ]
    if absent:
        return f"not installed: {' '.join(absent)} (apt install mmdebstrap e2fsprogs busybox-static kmod)"
    if platform.machine() != "x86_64":
        return f"the guest is an x86_64 machine, and this is {platform.machine()}"
    if os.geteuid() != 0:
        return "the image's files belong to root: building it needs root"
    return ""


def bench(lay_over: Callable[[Path], None], more: str) -> Path:
    """Builds the bench's guest; returns the folder with ``vmlinuz``, ``initrd`` and ``root.img``.

    Args:
        lay_over: gets the tree before it becomes an image: configuration, certificates.
        more: names what `lay_over` does; another text is another image.

    Raises:
        BuildError: with the words of what failed.
    """
    if reason := missing():
        raise BuildError(reason)
    base, modules = debian(), kernel()
    kept = _kept("bench", _digest([*_product_files(), *_files(HERE)], base.name, modules.name, more))
    return kept(lambda folder: _bench(folder, base, modules, lay_over))


def debian() -> Path:
    """The folder with Debian's part of the system, ``root.tar``."""

    def build(folder: Path) -> None:
        _run(
            "mmdebstrap", "--mode=root", "--variant=minbase", "--quiet",
            "--aptopt=Acquire::Languages \"none\"", "--aptopt=Acquire::Retries \"5\"",
            *(f"--dpkgopt=path-exclude=/usr/share/{what}/*" for what in ("man", "doc", "locale", "info")),
            f"--include={','.join(PACKAGES)}",
            SUITE, str(folder / "root.tar"),
        )  # fmt: skip

    return _kept("debian", _digest([], SUITE, *PACKAGES))(build)


def kernel() -> Path:
    """The folder with a kernel that has gpio-sim, below ``tree/usr/lib/modules``."""
    return _kept("kernel", _digest([], *KERNEL_SUITES))(_kernel)


def _kernel(folder: Path) -> None:
    last: BuildError | None = None
    for suite in KERNEL_SUITES:
        with tempfile.TemporaryDirectory() as work:
            try:
                for package in _fetch_kernel(Path(work), suite):
                    _run("dpkg-deb", "-x", str(package), str(folder / "tree"))
                if next(folder.rglob("gpio-sim.ko*"), None) is None:
                    raise BuildError(f"the kernel of Debian {suite} has no gpio-sim")
            except BuildError as error:
                last = error
                shutil.rmtree(folder / "tree", ignore_errors=True)
            else:
                return
    raise last or BuildError("no kernel")


def _fetch_kernel(work: Path, suite: str) -> list[Path]:
    """Downloads the newest plain kernel of a suite, by an apt that knows nothing of this machine."""
    for name in ("lists/partial", "archives/partial", "state"):
        (work / name).mkdir(parents=True)
    (work / "sources.list").write_text(f"deb {_mirror()} {suite} main\n")
    (work / "status").touch()
    options = {
        "Dir::State": work / "state", "Dir::State::status": work / "status",
        "Dir::State::lists": work / "lists",
        "Dir::Cache": work, "Dir::Etc::sourcelist": work / "sources.list", "Dir::Etc::sourceparts": "-",
        "APT::Architecture": "amd64", "APT::Architectures": "amd64", "APT::Sandbox::User": "root",
        "Acquire::Languages": "none", "Acquire::Retries": "5",
    }  # fmt: skip
    flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    _run("apt-get", *flags, "-qq", "update")
    names = _run("apt-cache", *flags, "pkgnames", "linux-").split()
    binaries = [m for n in names if (m := re.fullmatch(r"linux-binary-(\d[\d.]*\+deb\d+\w*)-amd64", n))]
    if not binaries:
        raise BuildError(f"Debian {suite} has no package linux-binary-*-amd64")
    newest = max(binaries, key=lambda match: [int(n) for n in re.findall(r"\d+", match[1])])[1]
    wanted = [f"linux-{part}-{newest}-amd64" for part in ("binary", "modules")]
    _run("apt-get", *flags, "-qq", "download", *wanted, cwd=work)
    return sorted(work.glob("*.deb"))


def _mirror() -> str:
    """The mirror of Debian that this machine uses."""
    with suppress(BuildError):
        for line in _run(
            "apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL) $(CREATED_BY)"
        ).splitlines():
            uri = line.split(" ")[0]
            if re.search(r"/debian/?$", uri):
                return uri
    return "http://deb.debian.org/debian"


def _bench(folder: Path, base: Path, modules: Path, lay_over: Callable[[Path], None]) -> None:
    tree = folder / "tree"
    tree.mkdir()
    _run("tar", "-xf", str(base / "root.tar"), "-C", str(tree), "--exclude=./dev/*", "--numeric-owner")
    version = _install_kernel(folder, tree, modules / "tree")
    _install_product(tree)
    _copy(HERE / "root", tree)
    _copy(HERE / "bench", tree)
    lay_over(tree)
    _finish(tree)
    _initrd(folder / "initrd", tree, version)
    _run(
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-L",
        "edge-root",
        "-d",
        str(tree),
        str(folder / "root.img"),
        f"{ROOT_MB}M",
    )
    shutil.rmtree(tree)


def _install_kernel(folder: Path, tree: Path, kernel_tree: Path) -> str:
    (source,) = kernel_tree.glob("usr/lib/modules/*")
    shutil.copy(source / "vmlinuz", folder / "vmlinuz")
    shutil.copytree(
        source,
        tree / "usr/lib/modules" / source.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("vmlinuz", *NOT_NEEDED),
    )
    _run("depmod", "-b", str(tree / "usr"), source.name)
    return source.name


def _install_product(tree: Path) -> None:
    """Wheel and locked packages into a folder of their own, for the guest's Python, whatever is here."""
    target = tree / "usr/lib/edge"
    uv = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(target),
    ]
    uv += [
        "--python-version",
        PYTHON,
        "--python-platform",
        PLATFORM,
        "--only-binary",
        ":all:",
        "--link-mode=copy",
    ]
    with tempfile.TemporaryDirectory() as work:
        lock = Path(work) / "box.lock"
        lock.write_text("".join(_locked(_needed("box") - FROM_DEBIAN)))
        _run(*uv, "--require-hashes", "-r", str(lock))
        _run(
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--disable-pip-version-check", "--wheel-dir", work, str(ROOT),
        )  # fmt: skip
        (wheel,) = Path(work).glob("*.whl")
        _run(*uv, str(wheel))
    units = ROOT / "firmware_config"
    for name, place in (
        ("systemd", "systemd/system"),
        ("sysusers.d", "sysusers.d"),
        ("tmpfiles.d", "tmpfiles.d"),
    ):
        _copy(units / name, tree / "usr/lib" / place)


def _needed(extra: str) -> set[str]:
    """Names of all packages that the product needs with one extra, on Linux with the guest's Python."""
    environment = {"python_version": PYTHON, "python_full_version": f"{PYTHON}.0", "sys_platform": "linux"}
    found: set[str] = set()
    to_do = [("edge-callbox", extra)]
    while to_do:
        name, extra = to_do.pop()
        for text in metadata.requires(name) or ():
            need = Requirement(text)
            if need.marker is not None and not need.marker.evaluate({**environment, "extra": extra}):
                continue
            if (key := canonicalize_name(need.name)) not in found:
                found.add(key)
                to_do.append((key, ""))
    return found


def _locked(names: Iterable[str]) -> list[str]:
    """The entries of these packages in the lock, with their hashes."""
    wanted = set(names)
    entries = re.findall(
        r"^[a-z0-9].*(?:\n {4}.*)*\n", (ROOT / "requirements/all.lock").read_text(), re.MULTILINE
    )
    found = {canonicalize_name(re.split(r"[=\[ ]", entry, maxsplit=1)[0]): entry for entry in entries}
    if absent := wanted - found.keys():
        raise BuildError(f"not in requirements/all.lock: {' '.join(sorted(absent))}")
    return [entry for name, entry in sorted(found.items()) if name in wanted]


def _finish(tree: Path) -> None:
    """What a running Debian would do at its first start, and a read-only root cannot."""
    for name in ("dev", "proc", "sys", "run", "tmp", "var/lib/edge"):
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / "etc/machine-id").write_text("")
    (tree / "etc/hostname").write_text("callbox\n")
    for command in (
        ("systemd-sysusers",),
        ("sh", "-c", OWNERS),
        ("systemctl", "preset-all"),
        ("systemctl", "enable", "edge.target", *_enabled(HERE / "bench")),
        ("systemctl", "mask", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
         "e2scrub_all.timer",
         "fstrim.timer", "systemd-timesyncd.service", "systemd-networkd.service", "systemd-resolved.service"),
        ("python3", "-m", "compileall", "-q", "/usr/lib/edge"),
    ):  # fmt: skip
        _run("chroot", str(tree), *command)


def _enabled(overlay: Path) -> list[str]:
    units = (overlay / "etc/systemd/system").glob("*.*")
    return sorted(unit.name for unit in units if unit.is_file() and "[Install]" in unit.read_text())


def _initrd(out: Path, tree: Path, version: str) -> None:
    """The smallest that finds the root: busybox and the modules on the way to it."""
    with tempfile.TemporaryDirectory() as work:
        top = Path(work)
        for name in ("bin", "dev", "proc", "sys", "root", "modules"):
            (top / name).mkdir()
        shutil.copy(tree / "bin/busybox", top / "bin/busybox")
        folder = tree / "usr/lib/modules" / version
        order = _with_what_they_need(MODULES, (folder / "modules.dep").read_text())
        for path in order:
            _unpack(folder / path, top / "modules" / _plain_name(path))
        (top / "modules/order").write_text("\n".join(map(_plain_name, order)))
        (top / "init").write_text(INIT)
        (top / "init").chmod(0o755)
        _run("sh", "-c", f"find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 > {out}", cwd=top)


def _with_what_they_need(modules: Iterable[str], dep: str) -> list[str]:
    """Paths of modules in the order of loading, from modules.dep(5); one that is not there is built in."""
    needs = dict(line.split(":", 1) for line in dep.splitlines())
    by_name = {_plain_name(path).removesuffix(".ko").replace("-", "_"): path for path in needs}
    found: list[str] = []
    for name in modules:
        if name in by_name:
            path = by_name[name]
            found += [p for p in (*reversed(needs[path].split()), path) if p not in found]
    return found


def _plain_name(path: str) -> str:
    return re.sub(r"\.(xz|zst|gz)$", "", Path(path).name)


def _unpack(module: Path, to: Path) -> None:
    tool = {".xz": "xz", ".zst": "zstd", ".gz": "gzip"}.get(module.suffix)
    if tool is None:
        shutil.copy(module, to)
        return
    with to.open("wb") as file:
        subprocess.run([tool, "-dc", str(module)], stdout=file, check=True)


# -- files and commands --------------------------------------------------------------------------


def _kept(layer: str, key: str) -> Callable[[Callable[[Path], None]], Path]:
    """The folder of a layer with that content; builds it when there is none. The newest three are kept."""

    def get(build: Callable[[Path], None]) -> Path:
        folder = cache() / f"{layer}-{key[:16]}"
        if not folder.is_dir():
            draft = folder.with_suffix(".draft")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            print(f"images: building {layer}", file=sys.stderr, flush=True)
            build(draft)
            draft.rename(folder)
            others = sorted(cache().glob(f"{layer}-*"), key=lambda path: path.stat().st_mtime)
            for old in others[:-3]:
                shutil.rmtree(old, ignore_errors=True)
        return folder

    return get


def _product_files() -> list[Path]:
    tops = [ROOT / name for name in ("pyproject.toml", "setup.py", "requirements/all.lock")]
    return [*tops, *_files(ROOT / "edge"), *_files(ROOT / "firmware_config")]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def _digest(files: Iterable[Path], *words: str) -> str:
    found = hashlib.sha256("\0".join(words).encode())
    for path in files:
        found.update(f"{path.relative_to(ROOT)}\0{path.stat().st_mode}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _copy(source: Path, target: Path) -> None:
    """Lays a folder over another; the files are root's and keep their modes."""
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir():
            to.mkdir(parents=True, exist_ok=True)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
            os.chown(to, 0, 0)
            to.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _run(*argv: str, cwd: Path | None = None) -> str:
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C"}
    try:
        done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True)
    except OSError as error:
        raise BuildError(f"{argv[0]} cannot be run: {error}") from error
    if done.returncode:
        raise BuildError(f"{' '.join(argv)[:200]}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout
