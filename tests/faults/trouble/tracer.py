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


def jump_to_nowhere(stage, number: int, *args: str) -> tuple[Outcome, bool]:
    """Runs the shell; after its `number`th system call since the launcher was ready for faults it jumps to address 0.

    Says whether that many were reached.
    """
    child = stage.start(*args, before=lambda _: _LIBC.ptrace(ctypes.c_long(_TRACEME), ctypes.c_long(0), None, None))
    os.waitpid(child.pid, 0)
    _ptrace(_SETOPTIONS, child.pid, ctypes.c_void_p(_EXITKILL | _SYSGOOD))
    stops, deliver = 0, 0
    registers = (ctypes.c_ulonglong * 27)()
    ready = False
    while True:
        _ptrace(_SYSCALL, child.pid, ctypes.c_void_p(deliver))
        _, status = os.waitpid(child.pid, 0)
        if not os.WIFSTOPPED(status):
            child.wait_status = status
            return child.finish(), False
        deliver = 0 if os.WSTOPSIG(status) & 0x80 else os.WSTOPSIG(status)
        if os.WSTOPSIG(status) != signal.SIGTRAP | 0x80:
            continue
        _ptrace(_GETREGS, child.pid, registers)
        ready = ready or registers[_ORIG_RAX] == _SIGALTSTACK
        stops += ready
        # Each system call stops twice; the second time is its end.
        if stops == 2 * number + 2:
            break
    registers[_RIP] = 0
    _ptrace(_SETREGS, child.pid, registers)
    _ptrace(_DETACH, child.pid, ctypes.c_void_p(0))
    return child.finish(), True
