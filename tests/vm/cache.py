"""What the virtual machine is made of, prepared once and kept outside the repository.

    $AGENTSH_CACHE (default ~/.cache/agentsh-vm)/
    ├── lock                 held while something is being added
    ├── apt/                 the private apt state (packages.py)
    ├── tools-N/             QEMU, virtiofsd, busybox, zstd, and the libraries they need
    ├── engines-N/           container engines and systemd of a newer Debian, and the libraries they need
    └── kernels/
        ├── <version>/       vmlinux, config, modules/
        └── newest, mid, lts links to versions

A finished folder is moved into place by one rename, so whoever sees it may use it without the lock.
"""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile

import kernel_image
from packages import PackageError, PrivateApt

# Raise the number when the list of packages changes.
TOOLS = "tools-1"
TOOL_PACKAGES = ["qemu-system-x86", "virtiofsd", "busybox-static", "zstd"]
ENGINES = "engines-2"
ENGINE_PACKAGES = ["docker.io", "docker-cli", "containerd", "runc", "podman", "crun", "conmon", "rootlesskit", "runsc", "systemd", "dbus"]
NEEDLESS = ("doc", "man", "locale")
LIBRARIES = "usr/lib/x86_64-linux-gnu"

# Versions of the kernels each series may take; the newest one that the mirror has is taken.
# Older kernels of a series vanish from the mirror, which is why no version is named here.
SERIES = {
    "newest": r"\d.*\+deb13-cloud-amd64",
    "mid": r"6\.18\..*\+deb13-cloud-amd64",
    "lts": r"6\.12\..*\+deb13-cloud-amd64",
}


def root():
    """The cache's folder."""
    default = os.path.join(os.path.expanduser("~"), ".cache", "agentsh-vm")
    return os.path.abspath(os.environ.get("AGENTSH_CACHE") or default)


@contextlib.contextmanager
def _locked(say):
    os.makedirs(root(), exist_ok=True)
    with open(os.path.join(root(), "lock"), "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another preparation of the VM's files to finish")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # What a killed preparation had begun.
        for begun in os.listdir(root()):
            if begun.startswith((".building-", ".kernel-")):
                shutil.rmtree(os.path.join(root(), begun), ignore_errors=True)
        yield


@contextlib.contextmanager
def _built_then_moved(final):
    """A temporary folder that becomes `final` if the body succeeds, and vanishes if not."""
    os.makedirs(os.path.dirname(final), exist_ok=True)
    building = tempfile.mkdtemp(prefix=".building-", dir=root())
    try:
        yield building
        os.chmod(building, 0o755)
        os.rename(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


class Tools:
    """The unpacked programs and how to start them."""

    def __init__(self, folder):
        self.folder = folder
        self.busybox = os.path.join(folder, "usr/bin/busybox")
        self.firmware = [os.path.join(folder, "usr/share", below) for below in ("qemu", "seabios")]
        self.modules = os.path.join(folder, LIBRARIES, "qemu")

    def command(self, program):
        """The start of a command line that runs a program of the folder with the folder's own libraries."""
        libraries = os.path.join(self.folder, LIBRARIES)
        loader = os.path.join(libraries, "ld-linux-x86-64.so.2")
        return [loader, "--library-path", libraries, os.path.join(self.folder, program)]


def tools(say):
    """The tools, unpacked first if they aren't there yet."""
    return Tools(_unpacked(TOOLS, TOOL_PACKAGES, "QEMU, virtiofsd and busybox (once, about 45 MB to download)", say))


def engines(say):
    """The folder of a newer Debian's engines, which is made to lie over a machine's own files; unpacked first as the tools are."""
    return _unpacked(ENGINES, ENGINE_PACKAGES, "Docker, podman, gVisor, systemd (once, about 140 MB to download)", say)


def _unpacked(name, packages, what, say):
    final = os.path.join(root(), name)
    if not os.path.isdir(final):
        with _locked(say):
            if not os.path.isdir(final):
                say(f"unpacking {what}")
                with _built_then_moved(final) as building:
                    _apt().unpack_with_dependencies(packages, building)
                    for name in os.listdir(building):
                        if name != "usr":
                            _remove(os.path.join(building, name))
                    for name in NEEDLESS:
                        _remove(os.path.join(building, "usr/share", name))
    return final


def _remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def kernel(wanted, say, refresh=False):
    """The folder or file of a kernel: a series of SERIES, a path to a kernel image, or a folder such as the cache's."""
    if wanted not in SERIES:
        if os.path.exists(wanted):
            return os.path.abspath(wanted)
        raise PackageError(f"--kernel {wanted}: no such file, and not one of {', '.join(SERIES)}")
    link = os.path.join(root(), "kernels", wanted)
    if refresh or not os.path.isdir(link):
        unpacker = tools(say)
        with _locked(say):
            if refresh or not os.path.isdir(link):
                version = _newest_of(SERIES[wanted])
                _unpack_kernel(version, unpacker, say)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(link + ".new")
                os.symlink(version, link + ".new")
                os.rename(link + ".new", link)
    return os.path.realpath(link)


def _apt():
    return PrivateApt(os.path.join(root(), "apt"))


def version_key(text):
    """Orders versions as `sort -V` does where that matters here: 6.12.94 before 6.12.107."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", text)]


def _packages_by_version(names):
    """For each kernel version the packages to unpack, the first way of packaging that is complete.

    Debian splits its newest kernels into image, modules and base; older ones are one package, signed or not yet.
    """
    known = set(names)
    found = {}
    for name in known:
        version = re.sub(r"^linux-(binary-unsigned|image)-|-unsigned$", "", name)
        split = [f"linux-{part}-{version}" for part in ("binary-unsigned", "modules", "base")]
        for packages in (split, [f"linux-image-{version}-unsigned"], [f"linux-image-{version}"]):
            if known.issuperset(packages):
                found[version] = packages
                break
    return found


def _newest_of(pattern):
    names = _apt().names(r"linux-(binary-unsigned|modules|base|image)-\d.*(?<!-dbg)")
    candidates = [version for version in _packages_by_version(names) if re.fullmatch(pattern, version)]
    if not candidates:
        raise PackageError(f"the mirror has no kernel whose version matches {pattern}")
    return max(candidates, key=version_key)


def _unpack_kernel(version, unpacker, say):
    final = os.path.join(root(), "kernels", version)
    if os.path.isdir(final):
        return
    apt = _apt()
    packages = _packages_by_version(apt.names(rf"linux-(binary-unsigned|modules|base|image)-{re.escape(version)}.*"))
    say(f"unpacking {', '.join(packages[version])} (once)")
    with _built_then_moved(final) as building, tempfile.TemporaryDirectory(dir=root(), prefix=".kernel-") as tree:
        apt.unpack(packages[version], tree)
        images, configs = [], []
        for parent, _, names in os.walk(tree):
            images += [os.path.join(parent, name) for name in names if name.startswith("vmlinuz")]
            configs += [os.path.join(parent, name) for name in names if name in ("config", f"config-{version}")]
        if len(images) != 1:
            raise PackageError(f"{packages[version]} hold {len(images)} kernel images, expected one")
        kernel_image.extract_vmlinux(images[0], os.path.join(building, "vmlinux"), unpacker.command("usr/bin/zstd"))
        kernel_image.collect_modules(tree, os.path.join(building, "modules"))
        for config in configs[:1]:
            shutil.copyfile(config, os.path.join(building, "config"))
