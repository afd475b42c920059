"""What the cases about containers share: root file systems made of this machine's own files, an installed agentsh, podman."""

import atexit
import json
import os
import shutil
import subprocess
import sys

from sessions import program, run

# In memory: layers can't lie on the guest's root, which is an overlay itself.
PLACE = f"/run/ct-{os.path.basename(sys.argv[0]).partition('.')[0]}"
OPT = f"{PLACE}/opt"
STORE = f"{PLACE}/podman"
# What a small Debian has, as far as the commands need it.
DEBIAN = ("bash", "dash", "coreutils", "grep", "sed", "findutils", "procps", "base-files", "base-passwd")
APPLETS = ("sh", "ls", "cat", "dd", "grep", "sed", "sort", "sleep", "id", "wc", "tr", "tail", "true", "mkdir", "rm", "awk")
SECONDS = 200
# An ordinary user, with podman of its own.
USER = 1500


def opt():
    """An installed tree as install.sh leaves it, with the static shells of Debian's packages; gone when the case ends."""
    atexit.register(shutil.rmtree, PLACE, ignore_errors=True)
    os.makedirs(f"{OPT}/bin")
    os.makedirs(f"{OPT}/libexec")
    shutil.copy(program("agentsh"), f"{OPT}/bin/agentsh")
    for name in ("bash", "sh"):
        os.link(f"{OPT}/bin/agentsh", f"{OPT}/bin/{name}")
        shutil.copy("/bin/bash-static", f"{OPT}/libexec/{name}")
    shutil.copy("/bin/busybox", f"{OPT}/libexec/busybox")
    return OPT


def _empty(name):
    root = f"{PLACE}/{name}"
    for folder in ("proc", "sys", "dev", "run", "etc", "opt/agentsh", "root", "case", "out"):
        os.makedirs(f"{root}/{folder}")
    os.makedirs(f"{root}/tmp", mode=0o777)
    os.chmod(f"{root}/tmp", 0o1777)
    return root


def busybox():
    """A root that has nothing but busybox: no bash, no C library, and its /bin/sh is all its programs."""
    root = _empty("busybox")
    os.makedirs(f"{root}/bin")
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    for applet in APPLETS:
        os.symlink("busybox", f"{root}/bin/{applet}")
    with open(f"{root}/etc/passwd", "w", encoding="ascii") as file:
        file.write("root:x:0:0::/root:/bin/sh\n")
    return root


def debian():
    """A small Debian: the files of this machine's own packages, and the libraries that they need."""
    root = _empty("debian")
    # Where the links are that unite /bin with /usr/bin.
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
    listed = run("dpkg", "-L", *DEBIAN).stdout.split("\n")
    skipped = ("/usr/share/", "/usr/lib/x86_64-linux-gnu/gconv", "/etc/alternatives", "/lib/systemd", "/usr/lib/systemd")
    files = [path for path in listed if path.startswith("/") and not path.startswith(skipped) and not os.path.isdir(path)]
    # By the folders that they really are in: /bin may be a link to /usr/bin.
    files = [os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in files if os.path.lexists(path)]
    # Those that have more than the C library; each takes a moment.
    programs = ("/bin/bash", "/bin/ls", "/bin/cp", "/usr/bin/expr", "/usr/bin/sort", "/bin/grep", "/bin/sed", "/usr/bin/find", "/bin/ps")
    seen = run("ldd", *programs, seconds=SECONDS).stdout.split()
    libraries = {word for word in seen if word.startswith("/") and not word.endswith(":") and os.path.isfile(word)}
    libraries = {os.path.join(os.path.realpath(os.path.dirname(word)), os.path.basename(word)) for word in libraries}
    libraries |= {os.path.realpath(word) for word in libraries}
    names = "\n".join([*files, *sorted(libraries), "/etc/passwd", "/etc/group"])
    # The loader is asked for in /lib64, which may be a link too.
    command = f"tar -c -C / --no-recursion --hard-dereference -T - | tar -x --skip-old-files --keep-directory-symlink -C {root}"
    done = subprocess.run(["sh", "-c", command], input=names, text=True, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode:
        print(f"# the Debian root: {done.stderr.strip()[-400:]}", flush=True)
    return root


def delegated():
    """A cgroup of a user's own, as systemd makes one for each user."""
    group = f"/sys/fs/cgroup/user-{USER}"
    os.makedirs(group, exist_ok=True)
    with open(f"{group}/cgroup.subtree_control", "w", encoding="ascii") as file:
        file.write("+memory +cpu +pids")
    for name in ("", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads"):
        os.chown(group + name, USER, USER)
    with open("/etc/passwd", encoding="utf-8") as file:
        if "\nagent:" in file.read():
            return group
    for file, line in (("passwd", f"agent:x:{USER}:{USER}::/tmp:/bin/bash"), ("group", f"agent:x:{USER}:")):
        with open(f"/etc/{file}", "a", encoding="ascii") as out:
            out.write(line + "\n")
    for file in ("subuid", "subgid"):
        with open(f"/etc/{file}", "a", encoding="ascii") as out:
            out.write(f"agent:{300000}:65536\n")
    return group


class Podman:
    """podman for one user, with crun, and with cgroups by its own hand: there is no systemd here."""

    def __init__(self, uid=0, group=None):
        name = f"{STORE}-{uid}"
        os.makedirs(name, exist_ok=True)
        os.chown(name, uid, uid)
        self.command = ["podman", "--root", f"{name}/root", "--runroot", f"{name}/runroot", "--tmpdir", f"{name}/tmp"]
        self.command += ["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "crun"]
        self.command += ["--events-backend", "none"]
        self.environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "HOME": name, "XDG_RUNTIME_DIR": name}
        if uid:
            self.command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *self.command]
        self.uid, self.group, self.begun = uid, group, 0

    def __call__(self, *arguments, seconds=SECONDS, **options):
        options.setdefault("env", self.environment)
        return run(*self._joining(), *self.command, *arguments, seconds=seconds, **options)

    def _joining(self):
        """Each call of a user's podman begins in a cgroup of its own, as in a scope of systemd's: it makes others below."""
        if not self.group:
            return []
        self.begun += 1
        scope = f"{self.group}/scope-{self.begun}"
        os.mkdir(scope)
        for name in ("", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads"):
            os.chown(scope + name, self.uid, self.uid)
        return ["sh", "-c", f'echo 0 >{scope}/cgroup.procs && exec "$@"', "sh"]

    def start(self, *arguments, seconds=SECONDS):
        """Starts a container in the background: its id, and the pid of its first process here."""
        done = self("run", "-d", "--network", "none", *arguments, seconds=seconds)
        if done.returncode:
            print(f"# podman run: {done.stderr.strip()}", flush=True)
            return None, 0
        container = done.stdout.strip()
        return container, int(self("inspect", "--format", "{{.State.Pid}}", container).stdout or 0)


def records(path):
    """The lines of a log, oldest first."""
    try:
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except OSError:
        return []


def cgroup_of(pid):
    """The directory of a process's cgroup, seen from outside."""
    with open(f"/proc/{pid}/cgroup", encoding="ascii") as file:
        return "/sys/fs/cgroup" + file.read().strip().split("::")[1]

