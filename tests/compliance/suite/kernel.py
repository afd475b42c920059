"""Calls to the kernel and libc that Python's own modules lack."""

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_TIMERSLACK = 1, 8, 29
PR_SET_SECUREBITS, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 28, 36, 38
PR_SET_THP_DISABLE = 41
SECBIT_NO_SETUID_FIXUP = 1 << 2

CLONE_NEWPID = 0x20000000
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000

ADDR_NO_RANDOMIZE = 0x0040000
SYS_IOPRIO_SET, SYS_IOPRIO_GET = 251, 252
IOPRIO_WHO_PROCESS = 1


def _checked(result: int, call: str) -> int:
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")
    return result


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with up to four integer arguments."""
    padded = [ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)][:4]
    return _checked(_LIBC.prctl(option, *padded), f"prctl {option}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_LIBC.unshare(flags), "unshare")


def personality(persona: int) -> int:
    """personality(2); 0xffffffff only asks."""
    return _checked(_LIBC.personality(ctypes.c_ulong(persona)), "personality")


def syscall(number: int, *arguments: int) -> int:
    """Any system call with integer arguments."""
    return _checked(_LIBC.syscall(number, *(ctypes.c_long(a) for a in arguments)), f"syscall {number}")


def execve(path: bytes, argv: list[bytes], environment: list[bytes]) -> None:
    """execve(2) as it is: argv and environment may be empty, doubled or malformed, as Python's would not allow."""
    def vector(strings: list[bytes]):
        return (ctypes.c_char_p * (len(strings) + 1))(*strings, None)

    _checked(_LIBC.execve(path, vector(argv), vector(environment)), f"execve {path!r}")


def queue(pid: int, number: int, value: int) -> None:
    """sigqueue(3): a signal with a value."""
    _checked(_LIBC.sigqueue(pid, number, ctypes.c_void_p(value)), "sigqueue")
