"""Callers of every kind: spawned, by links and descriptors, as PID 1, without rights, at their limits."""

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import threading

from suite import kernel
from suite.case import call, command, scene
from suite.outcome import ending
from suite.process import Process, alive, children_of
from suite.stage import PIPE


@scene("A caller that uses posix_spawn gets its output and status", stdout=b"spawned hBc\n", status="exit 6")
def _posix_spawn(stage):
    reader, writer = os.pipe()
    pid = os.posix_spawn(stage.shell, ["bash", "-c", "echo spawned $-; exit 6"], stage.environment(),
                         file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_CLOSE, writer)])
    os.close(writer)
    done = Process(pid, stage.guard, None, reader, None).finish()
    stage.note(stdout=done.out, status=done.status)


@scene("posix_spawn's group, mask and defaults are the command's", stdout=b"SigBlk:\t0000000000000800\nSigIgn:\t0000000000000000\n", leads=True, status="exit 0")
def _posix_spawn_attributes(stage):
    reader, writer = os.pipe()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    everything = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}
    pid = os.posix_spawn(stage.shell, ["bash", "-c", "exec sed -n '/SigBlk/p;/SigIgn/p' /proc/self/status"], stage.environment(),
                         file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)], setpgroup=0, setsigmask={signal.SIGUSR2}, setsigdef=everything)
    os.close(writer)
    leads = os.getpgid(pid) == pid
    done = Process(pid, stage.guard, None, reader, None).finish()
    # An older glibc's posix_spawn has its two internal signals, 32 and 33, ignored.
    stage.note(stdout=done.out.replace(b"SigIgn:\t0000000180000000", b"SigIgn:\t0000000000000000"), leads=leads, status=done.status)


@scene("A caller that uses vfork gets its output and status", stdout=b"vforked\n", stderr=b"err\n", status=7)
def _vfork(stage):
    # Without preexec_fn, Python's subprocess uses vfork(2).
    done = subprocess.run(["bash", "-c", "echo vforked; echo err >&2; exit 7"], executable=stage.shell, env=stage.environment(),
                          capture_output=True, check=False, timeout=stage.guard)
    stage.note(stdout=done.stdout, stderr=done.stderr, status=done.returncode)


@scene("A caller that uses system(3) with the shell as sh works", stdout=b"by system\n", status="exit 3")
def _shell_true(stage):
    done = subprocess.run(["sh", "-c", "echo by system; exit 3"], executable=stage.sh, env=stage.environment(), capture_output=True, check=False, timeout=stage.guard)
    stage.note(stdout=done.stdout, status=f"exit {done.returncode}")


@scene("A thread of the caller's that ends takes nothing with it", stdout=b"on\n", status="exit 0")
def _thread(stage):
    stage.fifo("gate")
    started = []
    thread = threading.Thread(target=lambda: started.append(stage.start("-c", "read a <gate; echo on")))
    thread.start()
    thread.join()
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")
    done = started[0].finish()
    stage.note(stdout=done.out, status=done.status)


@scene("Eight calls at once are told apart", answers=[f"{n} exit {n}" for n in range(8)])
def _at_once(stage):
    shells = [stage.start("-c", f"echo {n}; exit {n}") for n in range(8)]
    answers = []
    for shell in shells:
        done = shell.finish()
        answers.append(f"{done.out.decode().strip()} {done.status}")
    stage.note(answers=answers)


@scene("A caller that becomes the shell keeps its earlier children to itself", stdout=b"main\n", status="exit 2")
def _earlier_children(stage):
    def before(_):
        if os.fork() == 0:
            os._exit(0)
        if os.fork() == 0:
            os.execv("/bin/sleep", ["sleep", "0.05"])

    done = stage.run("-c", "sleep 0.1; echo main; exit 2", before=before, stderr=PIPE)
    stage.note(stdout=done.out, status=done.status)


@scene("By a symbolic link of another name the shell runs", stdout=b"zork hBc\n", stderr=b"", status="exit 0")
def _link(stage):
    os.symlink(stage.shell, "zork")
    stage.note_outcome(stage.run("-c", "echo $0 $-", program="./zork", argv0="zork"))


@scene("By a link named rbash the shell is restricted", stdout=b"", stderr=b"rbash: line 1: cd: restricted\n", status="exit 1")
def _rbash(stage):
    os.symlink(stage.shell, "rbash")
    stage.note_outcome(stage.run("-c", "cd /", program="./rbash", argv0="rbash"))


@scene("By a link named sh it is bash in POSIX mode, whatever /bin/sh is", stdout=b"posix          \ton\nhBc\n", stderr=b"", status="exit 0")
def _sh_link(stage):
    os.symlink(stage.shell, "sh")
    stage.note_outcome(stage.run("-c", "shopt -o posix; echo $-", program="./sh", argv0="sh", env={"AGENTSH_REAL_SHELL": None}))


@scene("By a descriptor the shell runs", stdout=b"bash hBc\n", status="exit 0")
def _by_descriptor(stage):
    fd = os.open(stage.shell, os.O_RDONLY)

    def before(_):
        os.execve(fd, ["bash", "-c", "echo $0 $-"], stage.environment())

    done = stage.run("-c", "not reached", before=before)
    stage.note(stdout=done.out, status=done.status)


@scene("By a copy the shell runs", stdout=b"bash hBc\n", stderr=b"", status="exit 0")
def _copy(stage):
    shutil.copy(stage.shell, "bash")
    os.chmod("bash", 0o755)
    stage.note_outcome(stage.run("-c", "echo $0 $-", program="./bash"))


@scene("Found in PATH the shell runs", stdout=b"bash hBc\n", stderr=b"", status="exit 0")
def _in_path(stage):
    stage.note_outcome(stage.run("bash", "-c", "echo $0 $-", program="/usr/bin/env", argv0="env"))


command("exec -a gives another name", "exec -a other bash -c 'echo $0 $-'", out="other hBc\n")
command("exec -a with a dash makes a login shell", "exec -a -bash bash --noprofile -c 'shopt login_shell'", out="login_shell    \ton\n")
command("exec -l makes a login shell", "exec -l bash --noprofile -c 'shopt login_shell; echo $0'", out="login_shell    \ton\n-bash\n")
command("exec -c empties the environment", "exec -c /usr/bin/env", out="")
command("A chain of execs ends with the last one's status", "exec bash -c 'exec bash -c \"exec bash -c \\\"exit 5\\\"\"'", status=5)
command("The shape of Codex's calls works: exec of a second shell in the first", "A=1\n\nexec '/bin/bash' -c 'echo inner; exit 4'", out="inner\n", status=4)
command("The shape of Claude's calls works", "shopt -u extglob 2>/dev/null || true && eval 'echo hi; cat' < /dev/null && pwd -P >| cwd; cat cwd", out="hi\n@DIR@/work\n")
command("The shape of Gemini's calls works", "(\n  trap 'jobs -p > \"bgpids\"' EXIT\necho in; exit 3\n)\n__code=$?\nexit $__code", out="in\n", status=3)
command("Ten shells one in the other give the innermost's status", "e='exit 9'; for i in 1 2 3 4 5 6 7 8 9; do e=\"bash -c $(printf %q \"$e\")\"; done; eval \"$e\"", status=9)
command("make's recipes run", "printf 'all:\\n\\t@echo made $$((1+1))\\n\\t@exit 3\\n' | make -s -f - SHELL=bash 2>/dev/null; echo $?", out="made 2\n2\n")
command("xargs and find start the shell", "printf 'a\\nb\\n' | xargs -I{} bash -c 'echo got {}'; find . -maxdepth 0 -exec bash -c 'echo $1' _ {} \\;", out="got a\ngot b\n.\n")
command("timeout's expiry is 124", "timeout 0.05 bash -c 'sleep 100; true'; echo $?", out="124\n")
command("nice, env, nohup and stdbuf start the shell", "n=$(nice); nice -n 5 env A=1 stdbuf -o0 bash -c \"echo \\$((\\$(nice) - $n)) \\$A\"", out="5 1\n")


@scene("A coprocess protocol of a persistent shell on pipes works", answers=[b"one", b"two", b"/"], status="exit 0")
def _persistent(stage):
    shell = stage.start("-s", stdin=PIPE)
    answers = []
    for line in (b"x=one; echo $x", b"echo two", b"cd /; pwd"):
        shell.feed(line + b"\n")
        answers.append(shell.read_line())
    shell.end_input()
    stage.note(answers=answers, status=shell.finish().status)


PID_ONE = {"program": "/usr/bin/unshare", "argv0": "unshare", "needs": "root"}


def as_pid_one(*args: str) -> tuple[str, ...]:
    """The shell as the first process of a PID namespace with a /proc of its own."""
    return ("--pid", "--fork", "--mount-proc", "@BIN@/bash", *args)


call("As PID 1 the command's status is the caller's", *as_pid_one("-c", "echo one; exit 5"), out="one\n", status=5, **PID_ONE)
call("As PID 1 a script runs", *as_pid_one("./s", "x"), files={"s": "echo s $1; exit 6\n"}, out="s x\n", status=6, **PID_ONE)
call("As PID 1 the shell reads standard input", *as_pid_one(), input=b"echo $$; exit 7\n", out="1\n", status=7, **PID_ONE)
call("As PID 1 orphans are reaped", *as_pid_one("-c", "(sleep 0.01 &); (sleep 0.02 &); for i in {1..500}; do sleep 0.01; ps -eo comm= | grep -q sleep || break; done; ps -eo stat= | grep -c ^Z"),
     out="0\n", status=1, **PID_ONE)
call("As PID 1 the end of the shell ends what it left", *as_pid_one("-c", "sleep 100 & exit 3"), status=3, **PID_ONE)
call("As PID 1 a child's death by signal is 128 and its number", *as_pid_one("-c", "exec 2>/dev/null; /bin/sh -c 'kill -9 $$'; exit $?"), status=137, **PID_ONE)


@scene("As PID 1 a trap of TERM runs", needs="root", stdout=b"term\n", status="exit 4")
def _pid_one_trap(stage):
    shell = stage.start(*as_pid_one("-c", "trap 'echo term; exit 4' TERM; echo ready; while :; do sleep 0.02; done"), program="/usr/bin/unshare", argv0="unshare")
    shell.read_line()
    os.kill(children_of(shell.pid)[0], signal.SIGTERM)
    done = shell.finish()
    stage.note(stdout=done.out, status=done.status)


@scene("As PID 1 a shell is ended by SIGKILL from outside", needs="root", gone=True)
def _pid_one_kill(stage):
    shell = stage.start(*as_pid_one("-c", "echo ready; while :; do sleep 0.02; done"), program="/usr/bin/unshare", argv0="unshare")
    shell.read_line()
    first = children_of(shell.pid)[0]
    os.kill(first, signal.SIGKILL)
    shell.finish()
    stage.note(gone=not alive(first))


@scene("In a PID namespace with its parent's /proc the command runs", needs="root", stdout=b"on 3\n", status="exit 8")
def _foreign_proc(stage):
    kernel.unshare(kernel.CLONE_NEWPID)
    done = stage.run("-c", "(exit 3); echo on $?; exit 8")
    stage.note(stdout=done.out, status=done.status)


def _lock(_stage):
    lock = os.open("locked", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    fcntl.lockf(lock, fcntl.LOCK_EX)


@scene("A lock of fcntl(2) that the caller holds outlives its exec of the shell", stdout=b"ready\n", held=True, status="exit 0")
def _locked(stage):
    stage.fifo("gate")
    shell = stage.start("-c", "echo ready; read a <gate; true", before=_lock)
    first = shell.read_line()
    with open("locked", "r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = False
        except BlockingIOError:
            held = True
    with open("gate", "w", encoding="ascii"):
        pass
    stage.note(stdout=first + b"\n", held=held, status=shell.wait())


@scene("LISTEN_PID, with which a service manager names the process that it starts, names the shell", stdout=b"0\n", status="exit 0")
def _activated(stage):
    done = stage.run("-c", "LISTEN_PID=$$ exec \"$0\" -c 'echo $((LISTEN_PID - $$))'", "@BIN@/bash", program="/bin/sh", argv0="sh")
    stage.note(stdout=done.out, status=done.status)


@scene("Without /proc the command runs", needs="root", stdout=b"on 3\n", stderr=b"", status="exit 8")
def _no_proc(stage):
    stage.note_outcome(stage.run("--mount", "/bin/sh", "-c", "mount -t tmpfs none /proc && exec \"$0\" -c '(exit 3); echo on $?; exit 8'", "@BIN@/bash",
                                 program="/usr/bin/unshare", argv0="unshare"))


@scene("Without /proc and /dev the command runs", needs="root", stdout=b"on 3\n", stderr=b"", status="exit 8")
def _no_dev(stage):
    stage.note_outcome(stage.run("--mount", "/bin/sh", "-c", "mount -t tmpfs none /proc && mount -t tmpfs none /dev && exec \"$0\" -c '(exit 3); echo on $?; exit 8'",
                                 "@BIN@/bash", program="/usr/bin/unshare", argv0="unshare"))


def _lone_user(processes: int):
    """Becomes a user of whom there is no other process, who may have this many."""
    def before(_stage):
        user = 1_000_000 + os.getpid()
        os.setgroups([])
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)

    return before


command("At the limit of processes a command of builtins runs", "echo ran", before=_lone_user(1), needs="root", out="ran\n")
command("At the limit of processes an exec runs", "exec /bin/echo ran", before=_lone_user(1), needs="root", out="ran\n")
command("With one process to spare a command may have one child", "/bin/echo child; echo $?", before=_lone_user(2), needs="root", out="child\n0\n")
command("With two processes to spare a pipeline of two runs", "/bin/echo child | cat; echo $?", before=_lone_user(3), needs="root", out="child\n0\n")


def _privileged_copy(stage, mode: int) -> str:
    os.chmod(stage.work, 0o777)
    shutil.copy(os.path.realpath(stage.shell), "bash")
    os.chown("bash", 0, 61011)
    os.chmod("bash", mode)
    return f"{stage.work}/bash"


def _plain_user(_stage):
    os.setgroups([])
    os.setresgid(61010, 61010, 61010)
    os.setresuid(61010, 61010, 61010)


SECURE_ENV = {"AGENTSH_REAL_SHELL": "/bin/false", "AGENTSH_OFF": "1", "AGENTSH_LOG": "/none"}


@scene("A setgid copy drops its group without -p, and obeys no variable of ours", needs="root", stdout=b"61010 61010\n", stderr=b"", status="exit 3")
def _setgid(stage):
    path = _privileged_copy(stage, 0o2755)
    stage.note_outcome(stage.run("-c", "echo $(id -rg) $(id -g); exit 3", program=path, before=_plain_user, env=SECURE_ENV))


@scene("A setgid copy keeps its group with -p, and reads no BASH_ENV", needs="root", stdout=b"61010 61011\n", stderr=b"", status="exit 3")
def _setgid_privileged(stage):
    path = _privileged_copy(stage, 0o2755)
    stage.file("rc", "echo rc\n")
    stage.note_outcome(stage.run("-p", "-c", "echo $(id -rg) $(id -g); exit 3", program=path, before=_plain_user, env=SECURE_ENV | {"BASH_ENV": "./rc"}))


@scene("A setuid copy drops its user without -p", needs="root", stdout=b"61010 61010\n", stderr=b"", status="exit 3")
def _setuid(stage):
    path = _privileged_copy(stage, 0o4755)
    stage.note_outcome(stage.run("-c", "echo $(id -ru) $UID; exit 3", program=path, before=_plain_user, env=SECURE_ENV))


@scene("Under no_new_privs a setgid copy gains nothing", needs="root", stdout=b"61010 61010\n", stderr=b"", status="exit 3")
def _setgid_no_new_privs(stage):
    path = _privileged_copy(stage, 0o2755)

    def before(s):
        _plain_user(s)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)

    stage.note_outcome(stage.run("-p", "-c", "echo $(id -rg) $(id -g); exit 3", program=path, before=before))


@scene("In a chroot with nothing but the shell and its libraries the command runs", needs="root", stdout=b"in 3\n", stderr=b"", status="exit 8")
def _chroot(stage):
    root = f"{stage.work}/root"
    wanted = {"/bin/bash", os.path.realpath(stage.shell)}
    for line in subprocess.run(["ldd", "/bin/bash"], capture_output=True, check=True, text=True, timeout=stage.guard).stdout.splitlines():
        wanted |= {word for word in line.split() if word.startswith("/")}
    for path in wanted:
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, root + path)
    shell = os.path.realpath(stage.shell)
    # In there, what is under test must not be the real bash that it looks for.
    stage.note_outcome(stage.run("-c", "(exit 3); echo in $?; exit 8", program=shell, before=lambda _: (os.chroot(root), os.chdir("/"))))


@scene("A caller that gives up waiting and comes back finds the status", status="exit 9")
def _late(stage):
    shell = stage.start("-c", "exit 9")
    stage.until(lambda: not alive(shell.pid), "the call ends")
    stage.note(status=ending(os.waitpid(shell.pid, 0)[1]))


@scene("A caller that ignores SIGCHLD has no zombie to wait for", none=True)
def _ignored_chld(stage):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    shell = stage.start("-c", "exit 9")
    try:
        os.waitpid(shell.pid, 0)
        stage.note(none=False)
    except ChildProcessError:
        stage.note(none=True)
