"""What a process inherits besides its descriptors: limits, masks, scheduling, credentials, places."""

import os
import resource
import signal

from suite import kernel
from suite.case import command, scene

STATUS = "while IFS= read -r l; do case $l in {}:*) echo \"$l\";; esac; done </proc/$$/status"


def _status(field: str) -> str:
    return STATUS.format(field)


for _mask in (0o000, 0o022, 0o077, 0o027, 0o777):
    command(f"A umask of {_mask:03o} is the command's", "umask", before=lambda _, mask=_mask: os.umask(mask), out=f"{_mask:04o}\n")
command("A file that the command makes has the caller's umask", ": >f; stat -c %a f; exec 2>&-", before=lambda _: os.umask(0o077), out="600\n")

# Name, number and two odd values, below what a container usually may have.
LIMITS = {"CPU": (0, 1000, 2000), "FSIZE": (1, 1 << 30, 1 << 31), "DATA": (2, 1 << 33, 1 << 34), "STACK": (3, 4 << 20, 7 << 20), "CORE": (4, 0, 0),
          "NOFILE": (7, 200, 300), "MEMLOCK": (8, 65536, 131072), "AS": (9, 1 << 40, 1 << 41), "SIGPENDING": (11, 500, 600), "MSGQUEUE": (12, 8192, 16384),
          "RTTIME": (15, 10**6, 10**7)}


@scene("Every resource limit is the caller's, as /proc/self/limits shows", same=True, odd=[str(soft) for _, soft, _ in LIMITS.values()], status="exit 0")
def _limits(stage):
    for number, soft, hard in LIMITS.values():
        resource.setrlimit(number, (soft, hard))
    with open("/proc/self/limits", "rb") as file:
        mine = file.read()
    done = stage.run("-c", "exec cat /proc/self/limits")
    text = done.out.decode()
    stage.note(same=done.out == mine, odd=[str(soft) for _, soft, _ in LIMITS.values() if f" {soft} " in text], status=done.status)


command("ulimit shows the caller's limits", "ulimit -n; ulimit -Hn; ulimit -c", out="222\n333\n0\n",
        before=lambda _: (resource.setrlimit(resource.RLIMIT_NOFILE, (222, 333)), resource.setrlimit(resource.RLIMIT_CORE, (0, 0))))
command("ulimit sets limits for what follows", "ulimit -Sn 99; sh -c 'ulimit -n'", out="99\n")

@scene("A file limit ends a writer with SIGXFSZ, and nothing of the shell's own", status="exit 153", size=1024)
def _file_limit(stage):
    done = stage.run("-c", "head -c 4096 /dev/zero >file; exit $?", before=lambda _: resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024)))
    stage.note(status=done.status, size=os.path.getsize("file"))


@scene("A limit of CPU time ends the command with SIGXCPU", status="killed by SIGXCPU")
def _cpu_limit(stage):
    stage.note(status=stage.run("-c", "while :; do :; done", before=lambda _: resource.setrlimit(resource.RLIMIT_CPU, (1, 5))).status)


@scene("A limit of the address space is felt by the command and by nothing else", status="exit 1", stdout=b"")
def _address_space(stage):
    done = stage.run("-c", "perl -e '$x = \"x\" x (1 << 30); print 1' 2>/dev/null; exit $(($? != 0))",
                     before=lambda _: resource.setrlimit(resource.RLIMIT_AS, (256 << 20, 256 << 20)))
    stage.note(status=done.status, stdout=done.out)


command("Niceness is inherited", "echo $(($(nice) - $1))", "n", str(os.nice(0)), before=lambda _: os.nice(7), out="7\n")
command("The scheduling policy and its priority are inherited", "chrt -p $$ | sed 's/.*: //'", needs="root",
        before=lambda _: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(3)), out="SCHED_RR\n3\n")
# A newer chrt tells of its time slice, too.
command("SCHED_BATCH is inherited", "chrt -p $$ | sed 's/.*: //;2q'", before=lambda _: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)), out="SCHED_BATCH\n0\n")
command("SCHED_IDLE is inherited", "chrt -p $$ | sed 's/.*: //;2q'", before=lambda _: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)), out="SCHED_IDLE\n0\n")
command("CPU affinity is inherited", "grep Cpus_allowed_list /proc/$$/status; nproc", before=lambda _: os.sched_setaffinity(0, {0}), out="Cpus_allowed_list:\t0\n1\n")
command("The priority of input and output is inherited", "ionice -p $$",
        before=lambda _: kernel.syscall(kernel.SYS_IOPRIO_SET, kernel.IOPRIO_WHO_PROCESS, 0, (2 << 13) | 6), out="best-effort: prio 6\n")


def _proc_write(name: str, text: str):
    def write(_stage):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)

    return write


command("oom_score_adj is inherited", "cat /proc/$$/oom_score_adj; cat /proc/self/oom_score_adj", before=_proc_write("oom_score_adj", "123"), out="123\n123\n")
command("coredump_filter is inherited", "cat /proc/$$/coredump_filter", before=_proc_write("coredump_filter", "0x21"), out="00000021\n")
command("The slack of timers is inherited", "cat /proc/$$/timerslack_ns", before=lambda _: kernel.prctl(kernel.PR_SET_TIMERSLACK, 123456), out="123456\n")
command("The personality is inherited", "cat /proc/$$/personality", before=lambda _: kernel.personality(kernel.ADDR_NO_RANDOMIZE), out="00040000\n")
command("No_new_privs is inherited", _status("NoNewPrivs"), before=lambda _: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1), out="NoNewPrivs:\t1\n")
command("No_new_privs is not set by the shell", _status("NoNewPrivs"), out="NoNewPrivs:\t0\n")
command("Transparent huge pages stay switched off", _status("THP_enabled"), before=lambda _: kernel.prctl(kernel.PR_SET_THP_DISABLE, 1), out="THP_enabled:\t0\n")
command("Securebits are inherited", "python3 -c 'import ctypes; print(ctypes.CDLL(None).prctl(27))'", needs="root",
        before=lambda _: kernel.prctl(kernel.PR_SET_SECUREBITS, kernel.SECBIT_NO_SETUID_FIXUP), out=f"{kernel.SECBIT_NO_SETUID_FIXUP}\n")
command("No seccomp filter is added", _status("Seccomp*"), out="Seccomp:\t0\nSeccomp_filters:\t0\n")
command("The shell has one thread", _status("Threads"), out="Threads:\t1\n")
command("The shell can be dumped and traced as before", "stat -c %u /proc/$$/environ", out=f"{os.getuid()}\n")


@scene("Capabilities, users and groups are the caller's", same=True)
def _credentials(stage):
    fields = (b"Uid:", b"Gid:", b"Groups:", b"Cap")
    with open("/proc/self/status", "rb") as file:
        mine = [line for line in file.read().splitlines() if line.startswith(fields)]
    done = stage.run("-c", "exec cat /proc/self/status")
    stage.note(same=[line for line in done.out.splitlines() if line.startswith(fields)] == mine)


def _become_user(_stage):
    os.setgroups([61001, 61002])
    os.setresgid(61003, 61003, 61003)
    os.setresuid(61004, 61004, 61004)


command("Another user's groups and ids are the command's", "id -u; id -g; id -G; test -w /etc/passwd || echo no", needs="root", before=_become_user,
        out="61004\n61003\n61003 61001 61002\nno\n")


def _drop_capabilities(_stage):
    kernel.prctl(24, 21)  # PR_CAPBSET_DROP, CAP_SYS_ADMIN
    _become_user(_stage)


command("A bounding set with a capability dropped stays so", "grep CapBnd /proc/self/status | cut -c8- | { read -r b; echo $(( (0x$b >> 21) & 1 )); }",
        needs="root", before=_drop_capabilities, out="0\n")
command("The session keyring is the caller's", "python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(250, 6, -3, ctypes.create_string_buffer(64), 64) > 0)'", out="True\n")


@scene("A session keyring that the caller joined is the command's", same=True)
def _keyring(stage):
    key = kernel.syscall(250, 1, 0)  # keyctl(KEYCTL_JOIN_SESSION_KEYRING), anonymous
    done = stage.run("-c", "exec python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(250, 0, -3, 0))'")
    stage.note(same=int(done.out) == key)


@scene("A working folder that is gone is no hindrance", stdout=b"ran\n", status="exit 0",
       stderr=b"shell-init: error retrieving current directory: getcwd: cannot access parent directories: No such file or directory\n")
def _gone(stage):
    os.mkdir("gone")

    def before(_):
        os.chdir("gone")
        os.rmdir(f"{stage.work}/gone")

    stage.note_outcome(stage.run("-c", "echo ran", before=before))


@scene("A working folder that may not be read is no hindrance", stdout=b"ran\n", stderr=b"", status="exit 0", needs="root")
def _unreadable(stage):
    os.mkdir("closed", 0o711)

    def before(_):
        os.chdir("closed")
        _become_user(stage)

    stage.note_outcome(stage.run("-c", "echo ran", before=before, env={"PWD": f"{stage.work}/closed"}))


@scene("Parent, session and group are the caller's when it makes us no leader", session=True, group=True)
def _membership(stage):
    done = stage.run("-c", "ps -o sid=,pgid= -p $$")
    session, group = map(int, done.out.split())
    stage.note(session=session == os.getsid(0), group=group == os.getpgrp())


@scene("Names: comm is bash and the command line is the caller's", stdout=b"bash\nbash\0-c\0cat /proc/$$/comm; cat /proc/$$/cmdline; true\0name\0a b\0\0")
def _names(stage):
    stage.note(stdout=stage.run("-c", "cat /proc/$$/comm; cat /proc/$$/cmdline; true", "name", "a b", "").out)


@scene("The shell that runs is the real one", exe="/usr/bin/bash")
def _executable(stage):
    stage.note(exe=os.path.realpath(stage.run("-c", "readlink /proc/$$/exe; true").out.decode().strip()))


@scene("Signals that the caller blocks stay blocked, but for SIGCHLD, which bash unblocks", stdout=b"SigBlk:\t0000000000004a00\n")
def _mask(stage):
    def before(_):
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGCHLD})

    stage.note(stdout=stage.run("-c", "exec sed -n /SigBlk/p /proc/self/status", before=before).out)


@scene("The dispositions of signals are the caller's, all of them", stdout=b"SigIgn:\t0000000000000000\n")
def _no_ignored(stage):
    stage.note(stdout=stage.run("-c", "exec sed -n /SigIgn/p /proc/self/status").out)


@scene("What the caller ignores stays ignored, all of it", stdout=b"SigIgn:\tfffffffe7ffbfeff\n")
def _all_ignored(stage):
    def before(_):
        for number in signal.valid_signals():
            if number not in (9, 19, 32, 33):
                signal.signal(number, signal.SIG_IGN)

    stage.note(stdout=stage.run("-c", "exec sed -n /SigIgn/p /proc/self/status", before=before).out)
