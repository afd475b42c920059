"""File systems in a bad state, for one process and what it starts: a mount namespace of its own."""

import ctypes
import os

from suite import kernel

_LIBC = ctypes.CDLL(None, use_errno=True)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
CLONE_NEWCGROUP = 0x02000000


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    encode = lambda text: None if text is None else text.encode()  # noqa: E731
    if _LIBC.mount(encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)):
        error = ctypes.get_errno()
        raise OSError(error, f"mount {source} on {target}: {os.strerror(error)}")


def private() -> None:
    """A mount namespace of our own, out of which nothing gets."""
    kernel.unshare(kernel.CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def hide(*places: str) -> None:
    """Puts an empty folder over each place."""
    private()
    for place in places:
        mount("none", place, "tmpfs", 0, "size=4k,mode=755")


def read_only() -> None:
    """Makes every file system read-only, those below / as well."""
    private()
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        points = [line.split()[4] for line in mounts]
    for point in reversed(points):
        try:
            mount("none", point.replace("\\040", " "), None, MS_REMOUNT | MS_BIND | MS_RDONLY)
        except OSError:
            # A mount that another one covers, or one of a kind that can't be: the rest is read-only all the same.
            pass


def full(place: str) -> None:
    """Puts a file system without a free byte over the place."""
    private()
    mount("none", place, "tmpfs", 0, "size=4k,mode=777")
    with open(f"{place}/filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass


def change_root(stage, *extra: str) -> None:
    """chroot into a folder with the programs, the stage and nothing else: no /proc, /sys, /dev, /etc."""
    private()
    root = f"{stage.folder}/root"
    os.makedirs(root, exist_ok=True)
    for place in ("/usr", "/bin", "/lib", "/lib64", stage.prefix, stage.folder, *extra):
        if os.path.islink(place):
            os.makedirs(os.path.dirname(root + place), exist_ok=True)
            if not os.path.lexists(root + place):
                os.symlink(os.readlink(place), root + place)
        elif os.path.isdir(place):
            os.makedirs(root + place, exist_ok=True)
            mount(place, root + place, None, MS_BIND)
    here = os.getcwd()
    os.chroot(root)
    os.chdir(here)
