"""Resource limits: the launcher needs more than bash, and its needs must never be the command's trouble."""

import os
import resource
import signal
import threading

from trouble.forms import PROBE, alike, fault

from suite.case import scene


def _limit(kind: int, soft: int, hard: int | None = None):
    return lambda _: resource.setrlimit(kind, (soft, soft if hard is None else hard))


for _n in range(3, 9):
    alike(f"RLIMIT_NOFILE {_n}", before=_limit(resource.RLIMIT_NOFILE, _n))
fault("A file limit of 0", before=_limit(resource.RLIMIT_FSIZE, 0))
fault("A file limit of 100 bytes, with a log that is longer", before=_limit(resource.RLIMIT_FSIZE, 100),
      prepare=lambda stage: open(f"{stage.folder}/state/calls.jsonl", "wb").write(b"{}\n" * 99) and None)
fault("No signals may be queued", before=_limit(resource.RLIMIT_SIGPENDING, 0))
fault("No core files", before=_limit(resource.RLIMIT_CORE, 0))
fault("No memory may be locked", before=_limit(resource.RLIMIT_MEMLOCK, 0))
for _kb in (32, 64, 128, 256, 1024):
    alike(f"A stack of {_kb} kB", before=_limit(resource.RLIMIT_STACK, _kb << 10))
# With less than this bash itself can't live.
for _kb in (512, 1024, 4096):
    alike(f"RLIMIT_DATA of {_kb} kB", before=_limit(resource.RLIMIT_DATA, _kb << 10))


@scene("Wherever bash can live in its address space, the command runs", differs=[], fits=True)
def _address_space(stage):
    # From where bash can't start to where it can: somewhere in between our own allocations fail and bash's don't.
    sizes = range(2 << 20, 16 << 20, 1 << 19)
    bash = {size: stage.run("-c", PROBE, program="/bin/bash", before=_limit(resource.RLIMIT_AS, size)) for size in sizes}
    ours = {size: stage.run("-c", PROBE, before=_limit(resource.RLIMIT_AS, size)) for size in sizes}
    # Where the kernel can't even map our file, nothing of ours has run.
    mapped = os.stat(stage.shell).st_size + (1 << 20) if stage.agentsh else 0
    stage.note(differs=[(size >> 10, ours[size].status, ours[size].err) for size in sizes
                        if size > mapped and (bash[size].out, bash[size].status) != (ours[size].out, ours[size].status)],
               fits=any(done.status == "exit 7" for done in bash.values()))


def _poor(stage, processes: int) -> None:
    # An uid of its own, so that nobody else's processes count.
    uid = 2_000_000 + os.getpid()
    os.chown(stage.work, uid, uid)
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


@scene("RLIMIT_NPROC reached as a user: the command runs where it needs no further process", out=b"out\n", err=b"", status="exit 7", needs="root")
def _no_processes(stage):
    done = stage.run("-c", "echo out; exit 7", before=lambda stage: _poor(stage, 1))
    stage.note(out=done.out, err=done.err, status=done.status)


for _n in (2, 3, 4, 5):
    @scene(f"RLIMIT_NPROC with {_n} processes as a user: a command that needs just one of its own has it",
           out=b"a\nb\n", err=b"", status="exit 7", needs="root")
    def _few_processes(stage, processes=_n):
        done = stage.run("-c", "/bin/echo a; /bin/echo b; exit 7", before=lambda stage: _poor(stage, processes))
        stage.note(out=done.out, err=done.err, status=done.status)


@scene("A limit of CPU time is the command's: it ends by SIGXCPU, and its trap still runs", out=b"trapped\n", status="exit 5", plain="killed by SIGXCPU")
def _cpu_time(stage):
    done = stage.run("-c", 'trap "echo trapped; exit 5" XCPU; while :; do :; done', before=_limit(resource.RLIMIT_CPU, 1, 5))
    ended = stage.run("-c", "while :; do :; done", before=_limit(resource.RLIMIT_CPU, 1, 5))
    stage.note(out=done.out, status=done.status, plain=ended.status)


@scene("A SIGXFSZ that the log raises is never the command's", out=b"trapped not\n", status="exit 0")
def _no_file_size_signal(stage):
    done = stage.run("-mc", 'trap "echo trapped" XFSZ; echo trapped not', before=_limit(resource.RLIMIT_FSIZE, 0))
    stage.note(out=done.out, status=done.status)


@scene("A SIGXFSZ that was pending before is still the command's", out=b"SigPnd:\t0000000001000000\n", status="exit 0")
def _pending_file_size_signal(stage):
    def pending(_stage):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXFSZ])
        signal.pthread_kill(threading.get_ident(), signal.SIGXFSZ)
    done = stage.run("-mc", "grep SigPnd /proc/$$/status", before=pending)
    stage.note(out=done.out, status=done.status)
