"""Every system call refused, one at a time."""

import errno

from trouble import refusals
from trouble.forms import PROBE, PROBE_SEEN

from suite.case import scene

# linux/unistd_64.h, without those that bash or its loader can't do without: read, write, open, mmap, mprotect, ioctl,
# dup2, rt_sigaction, rt_sigprocmask (it loses statuses), rt_sigreturn, clone, fork, vfork, execve, exit, wait4, arch_prctl, exit_group.
_NEEDED = {0, 1, 2, 9, 10, 13, 14, 15, 16, 33, 56, 57, 58, 59, 60, 61, 158, 231, 257}
_NUMBERS = [number for number in [*range(335), *range(424, 470)] if number not in _NEEDED]


def _wrong(stage, error: int, numbers: list[int], program: str | None) -> list:
    wrong = []
    for number in numbers:
        done = stage.run("-c", PROBE, before=lambda _, n=number: refusals.refuse(error, n), program=program)
        if (done.out, done.err, done.status) != tuple(PROBE_SEEN.values()):
            wrong.append((number, done.out, done.err, done.status))
    return wrong


for _part in range(8):
    @scene(f"Seccomp: whatever single system call bash can do without, agentsh can too ({_part + 1} of 8)", only_ours=[])
    def _sweep(stage, numbers=tuple(_NUMBERS[_part::8])):
        ours = _wrong(stage, errno.ENOSYS, numbers, None)
        # What fails is asked of bash as well.
        theirs = _wrong(stage, errno.ENOSYS, [number for number, *_ in ours], "/bin/bash")
        stage.note(only_ours=[fault for fault in ours if fault[0] not in {number for number, *_ in theirs}])
