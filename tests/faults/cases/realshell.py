"""The real shell: missing, ourselves, a script, a wrapper that comes back, a FIFO."""

import os
import shutil
import subprocess

from trouble import mounts
from trouble.forms import PROBE, fault

from suite import kernel
from suite.case import scene

MISSING = b"agentsh: bash: the real program was not found; name it in AGENTSH_REAL_SHELL\n"
CIRCLE = b"agentsh: AGENTSH_REAL_SHELL leads back to agentsh; name the real bash there\n"


def _named(name: str, make) -> None:
    """AGENTSH_REAL_SHELL names something that can't be a shell: the usual one is taken."""
    fault(f"AGENTSH_REAL_SHELL names {name}: the usual shell is taken", prepare=lambda stage: {"env": {"AGENTSH_REAL_SHELL": make(stage)}})


def _copy(stage) -> str:
    shutil.copy(os.path.realpath(stage.shell), f"{stage.work}/copy")
    return f"{stage.work}/copy"


def _script_back(stage) -> str:
    return stage.file("script", '#!@BIN@/bash\nexec @BIN@/bash "$@"\n', 0o755)


def _link_to_us(stage) -> str:
    os.symlink(stage.shell, f"{stage.work}/link")
    return f"{stage.work}/link"


_named("agentsh itself", lambda stage: stage.shell if stage.agentsh else "/bin/bash")
_named("a copy of agentsh", lambda stage: _copy(stage) if stage.agentsh else "/bin/bash")
_named("a link to agentsh", lambda stage: _link_to_us(stage) if stage.agentsh else "/bin/bash")
_named("a script that comes back", _script_back)
_named("nothing", lambda _: "/nowhere/bash")
_named("a folder", lambda stage: stage.work)
_named("a FIFO that nobody writes", lambda stage: stage.fifo("fifo"))
_named("a file that may not be executed", lambda stage: stage.file("plain", b"\x7fELF", 0o644))
_named("a relative path", lambda _: "bin/bash")
_named("a terminal", lambda _: "/dev/tty")
_named("an empty path", lambda _: "")
_named("a path of a million letters", lambda _: "/" + "x" * 100_000)

# A program that isn't a script: what wraps a shell in Nix and elsewhere.
_WRAPPER = r"""
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (BY_FORK) {
        int status = 0;
        pid_t child = fork();
        if (child < 0) return 99;
        if (child > 0) {
            prctl(PR_SET_PDEATHSIG, 9);
            waitpid(child, &status, 0);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
        }
        prctl(PR_SET_PDEATHSIG, 9);
    }
    execv(getenv("BACK_TO"), argv);
    return 97;
}
"""


def _wrapper(stage, name: str, by_fork: bool) -> str:
    os.makedirs(f"{stage.work}/wrap", exist_ok=True)
    source = stage.file("wrapper.c", _WRAPPER)
    subprocess.run(["cc", f"-DBY_FORK={int(by_fork)}", "-O1", "-o", f"{stage.work}/wrap/{name}", source], check=True, timeout=60,
                   env={"PATH": "/usr/bin:/bin"})
    return f"{stage.work}/wrap/{name}"


for _name in ("myshell", "bash"):
    for _by_fork in (False, True):
        how = "forks and comes back" if _by_fork else "comes back"

        @scene(f"AGENTSH_REAL_SHELL names a wrapper called {_name} that {how}: 127 and a message, and no endless loop",
               needs="shell", out=b"", err=CIRCLE, status="exit 127")
        def _comes_back(stage, name=_name, by_fork=_by_fork):
            wrapper = _wrapper(stage, name, by_fork)
            done = stage.run("-c", "echo never", env={"AGENTSH_REAL_SHELL": wrapper, "BACK_TO": stage.shell})
            stage.note(out=done.out, err=done.err, status=done.status)


@scene("AGENTSH_REAL_SHELL names a wrapper that goes on to real bash: all is well, at any depth", needs="shell", out=b"deep\n", status="exit 3")
def _good_wrapper(stage):
    wrapper = _wrapper(stage, "myshell", False)
    script = stage.file("deep.sh", 'if (($1)); then @BIN@/bash "$0" $(($1 - 1)); else echo deep; exit 3; fi\n')
    done = stage.run(script, "20", env={"AGENTSH_REAL_SHELL": wrapper, "BACK_TO": "/bin/bash"})
    stage.note(out=done.out, status=done.status)


@scene("A caller with a timer slack of its own is no circle", needs="shell", out=b"fine\n", status="exit 0")
def _slack(stage):
    wrapper = _wrapper(stage, "myshell", False)
    done = stage.run("-c", "echo fine", env={"AGENTSH_REAL_SHELL": wrapper, "BACK_TO": "/bin/bash"},
                     before=lambda _: kernel.prctl(kernel.PR_SET_TIMERSLACK, 5_000_000))
    stage.note(out=done.out, status=done.status)


@scene("A script that runs itself five hundred levels deep is no circle", out=b"deep\n", status="exit 3")
def _deep(stage):
    script = stage.file("deep.sh", 'if (($1)); then exec bash "$0" $(($1 - 1)); else echo deep; exit 3; fi\n')
    done = stage.run(script, "500")
    stage.note(out=done.out, status=done.status)


def _without_shells(stage) -> None:
    """A root in which agentsh is the only shell."""
    mounts.private()
    root = f"{stage.folder}/root"
    for folder in ("", "/bin", "/proc"):
        os.mkdir(root + folder)
    for name in ("bash", "sh"):
        shutil.copy(os.path.realpath(stage.shell), f"{root}/bin/{name}")
    mounts.mount("proc", f"{root}/proc", "proc")
    os.chroot(root)
    os.chdir("/")


@scene("No real shell anywhere: 127 and a message", needs="root shell", out=b"", err=MISSING, status="exit 127")
def _nowhere(stage):
    done = stage.run("-c", PROBE, program="/bin/bash", before=_without_shells, env={"AGENTSH_REAL_SHELL": None})
    stage.note(out=done.out, err=done.err, status=done.status)


@scene("No real shell anywhere and standard error closed: still 127", needs="root shell", status="exit 127")
def _nowhere_silent(stage):
    done = stage.run("-c", PROBE, program="/bin/bash", before=_without_shells, env={"AGENTSH_REAL_SHELL": None}, stderr="closed")
    stage.note(status=done.status)


@scene("A real shell that can't be started says so and gives 126", needs="shell", says=True, status="exit 126")
def _broken(stage):
    # An ELF header and nothing behind it.
    with open("/bin/bash", "rb") as real:
        stage.file("bash", real.read(64), 0o755)
    done = stage.run("-c", PROBE, env={"AGENTSH_REAL_SHELL": f"{stage.work}/bash"})
    stage.note(says=done.err.startswith(b"agentsh: @DIR@".replace(b"@DIR@", stage.folder.encode())), status=done.status)


@scene("AT_SECURE: AGENTSH_REAL_SHELL and its kind are not read", needs="root", out=b"out\nchild\n", err=b"err\n", status="exit 7", log=False)
def _secure(stage):
    evil = stage.file("evil", "#!/bin/sh\necho evil\n", 0o755)
    log = f"{stage.folder}/state/secure.jsonl"
    done = stage.run("-c", PROBE, env={"AGENTSH_REAL_SHELL": evil, "AGENTSH_LOG": log, "AGENTSH_POLICY": evil},
                     before=lambda _: os.setresuid(1000, 0, 0))
    stage.note(out=done.out, err=done.err, status=done.status, log=os.path.exists(log))


@scene("AT_SECURE: the effective user is what bash makes of it", needs="root", dropped=b"1000 1000\n", kept=b"1000 0\n")
def _secure_ids(stage):
    text = 'while read -r key ruid euid _; do [[ $key == Uid: ]] && echo $ruid $euid; done </proc/$$/status'
    dropped = stage.run("-c", text, before=lambda _: os.setresuid(1000, 0, 0))
    kept = stage.run("-p", "-c", text, before=lambda _: os.setresuid(1000, 0, 0))
    stage.note(dropped=dropped.out, kept=kept.out)
