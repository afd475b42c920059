"""A kernel that says no: seccomp filters and Landlock."""

import ctypes
import errno
import os
import struct

from suite import kernel

# linux/unistd_64.h
CALLS = {
    "poll": 7, "pread64": 17, "pwrite64": 18, "getcwd": 79, "readlink": 89, "flock": 73, "ptrace": 101, "setpgid": 109,
    "setsid": 112, "getpgid": 121, "getsid": 124, "waitid": 247,
    "rt_sigtimedwait": 128, "sigaltstack": 131, "statfs": 137, "fstatfs": 138, "prctl": 157, "setrlimit": 160,
    "setxattr": 188, "fsetxattr": 190, "fgetxattr": 193, "clock_gettime": 228, "mkdirat": 258, "unlinkat": 263,
    "readlinkat": 267, "faccessat": 269, "ppoll": 271, "signalfd4": 289, "eventfd2": 290, "prlimit64": 302, "kcmp": 312,
    "getrandom": 318, "statx": 332, "clone3": 435, "close_range": 436, "openat2": 437, "faccessat2": 439,
}
PR_SET_SECCOMP, FILTER = 22, 2
_ALLOW, _ERRNO, _TRAP = 0x7FFF0000, 0x00050000, 0x00030000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06


def refuse(error: int | None, *names: str | int) -> None:
    """From now on these system calls fail with this error, or raise SIGSYS, for us and what we become."""
    numbers = [CALLS.get(name, name) for name in names]
    program = [struct.pack("HBBI", _LOAD, 0, 0, 0)]
    for left, number in enumerate(reversed(numbers)):
        program.insert(1, struct.pack("HBBI", _EQUAL, left + 1, 0, number))
    program += [struct.pack("HBBI", _RETURN, 0, 0, _ALLOW), struct.pack("HBBI", _RETURN, 0, 0, _TRAP if error is None else _ERRNO | error)]
    code = ctypes.create_string_buffer(b"".join(program))

    class Program(ctypes.Structure):
        _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    described = Program(len(program), ctypes.addressof(code))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(PR_SET_SECCOMP, FILTER, ctypes.addressof(described))


_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE, _READ, _READ_DIR = 1, 2, 4, 8
_ALL_OF_ABI_1 = (1 << 13) - 1


def fence(*allowed: str, writable: tuple[str, ...] = ()) -> None:
    """Landlock: files can be used below these places, and nowhere else (EACCES, as SELinux would say)."""
    ruleset = kernel.syscall(_CREATE_RULESET, _address(struct.pack("Q", _ALL_OF_ABI_1)), 8, 0)
    for place in (*allowed, *writable):
        if not os.path.exists(place):
            continue
        rights = _ALL_OF_ABI_1 if place in writable else _EXECUTE | _READ | _READ_DIR
        if not os.path.isdir(place):
            rights &= _EXECUTE | _WRITE | _READ
        fd = os.open(place, os.O_PATH)
        kernel.syscall(_ADD_RULE, ruleset, 1, _address(struct.pack("=Qi", rights, fd)), 0)
        os.close(fd)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def has_landlock() -> bool:
    """Whether this kernel has Landlock switched on."""
    try:
        return kernel.syscall(_CREATE_RULESET, 0, 0, 1) >= 1
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP):
            return False
        raise


_kept = []


def _address(data: bytes) -> int:
    _kept.append(ctypes.create_string_buffer(data, len(data)))
    return ctypes.addressof(_kept[-1])
