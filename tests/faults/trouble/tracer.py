"""A debugger's hand in the launcher: at its nth system call it is made to fault, as a bug would make it."""

import ctypes
import os
import signal

from suite.outcome import Outcome

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.restype = ctypes.c_long
_TRACEME, _CONT, _GETREGS, _SETREGS, _SYSCALL, _DETACH, _SETOPTIONS = 0, 7, 12, 13, 24, 17, 0x4200
_EXITKILL, _SYSGOOD = 1 << 20, 1
# The instruction pointer in struct user_regs_struct of x86-64.
_RIP = 16


def _ptrace(request: int, pid: int, data=0) -> None:
    if _LIBC.ptrace(ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(0), data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace {request}: {os.strerror(error)}")


# By this system call the launcher says that it is ready for its own faults.
_SIGALTSTACK, _ORIG_RAX = 131, 15


def _traced(stage, *args: str, before=lambda: None):
    """Starts the shell, and stops it before and after each of its system calls: the child, and their numbers as they come."""
    def begin(_stage):
        before()
        _LIBC.ptrace(ctypes.c_long(_TRACEME), ctypes.c_long(0), None, None)

    child = stage.start(*args, before=begin)
    os.waitpid(child.pid, 0)
    _ptrace(_SETOPTIONS, child.pid, ctypes.c_void_p(_EXITKILL | _SYSGOOD))
    return child, _stops(child)


def _stops(child):
    deliver = 0
    registers = (ctypes.c_ulonglong * 27)()
    while True:
        _ptrace(_SYSCALL, child.pid, ctypes.c_void_p(deliver))
        _, status = os.waitpid(child.pid, 0)
        if not os.WIFSTOPPED(status):
            child.wait_status = status
            return
        deliver = 0 if os.WSTOPSIG(status) & 0x80 else os.WSTOPSIG(status)
        if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80:
            _ptrace(_GETREGS, child.pid, registers)
            yield registers


def count(stage, number: int, *args: str, before) -> tuple[Outcome, int]:
    """Runs the shell, and counts how often the launcher makes the system call of this number."""
    child, stops = _traced(stage, *args, before=before)
    # Each system call stops twice.
    seen = sum(registers[_ORIG_RAX] == number for registers in stops) // 2
    return child.finish(), seen


def jump_to_nowhere(stage, number: int, *args: str) -> tuple[Outcome, bool]:
    """Runs the shell; after its `number`th system call since the launcher was ready for faults it jumps to address 0.

    Says whether that many were reached.
    """
    child, stops = _traced(stage, *args)
    reached, ready = 0, False
    for registers in stops:
        ready = ready or registers[_ORIG_RAX] == _SIGALTSTACK
        reached += ready
        # Each system call stops twice; the second time is its end.
        if reached == 2 * number + 2:
            registers[_RIP] = 0
            _ptrace(_SETREGS, child.pid, registers)
            _ptrace(_DETACH, child.pid, ctypes.c_void_p(0))
            return child.finish(), True
    return child.finish(), False
