"""Docker's daemon and systemd, for the cases about them."""

import contextlib
import glob
import os
import subprocess

from roots import PLACE, SECONDS
from sessions import CGROUPS, read, report, run, until, write

SOCKET, CONTAINERD = f"{PLACE}/docker.sock", f"{PLACE}/containerd.sock"
# Debian's, not one that somebody has put before it.
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": PLACE}


class Docker:
    """Docker's daemon with containerd and runc, on this machine's own cgroups, unless it is begun within a systemd."""

    def __init__(self, *options, within=()):
        self.said = f"{PLACE}/dockerd.log"
        containerd = ["containerd", "--address", CONTAINERD, "--root", f"{PLACE}/containerd", "--state", f"{PLACE}/containerd-state"]
        dockerd = ["dockerd", "-H", f"unix://{SOCKET}", "--containerd", CONTAINERD, "--data-root", f"{PLACE}/docker"]
        dockerd += ["--exec-root", f"{PLACE}/docker-exec", "--pidfile", f"{PLACE}/docker.pid", "--storage-driver", "vfs"]
        dockerd += ["--iptables=false", "--ip6tables=false", "--bridge", "none", *options]
        self.daemons = []
        for command, socket in ((containerd, CONTAINERD), (dockerd, SOCKET)):
            with open(self.said, "ab") as out:
                self.daemons.append(subprocess.Popen([*within, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=ENVIRONMENT))
            report(f"{command[0]} is there", until(lambda: os.path.exists(socket), 60), (read(self.said) or "")[-600:])
        up = until(lambda: self("info").returncode == 0, 60)
        report("Docker answers", up, (read(self.said) or "")[-600:])

    def __call__(self, *arguments, seconds=SECONDS, **options):
        return run("/usr/bin/docker", "-H", f"unix://{SOCKET}", *arguments, env=ENVIRONMENT, seconds=seconds, **options)

    def start(self, *arguments):
        """Starts a container in the background: its id, and the pid of its first process."""
        done = self("run", "-d", "--network", "none", *arguments)
        if done.returncode:
            print(f"# docker run: {done.stderr.strip()}", flush=True)
            return None, 0
        container = done.stdout.strip()
        return container, int(self("inspect", "--format", "{{.State.Pid}}", container).stdout or 0)

    def image(self, name, root):
        """Makes an image of a folder."""
        archive = f"{PLACE}/{name}.tar"
        run("tar", "-c", "-C", root, "-f", archive, ".")
        done = self("import", archive, name)
        os.unlink(archive)
        report(f"an image is made: {name}", done.returncode == 0, done)
        return name

    def end(self):
        """Ends the daemons."""
        for daemon in reversed(self.daemons):
            daemon.terminate()
            daemon.wait(30)
        for socket in (SOCKET, CONTAINERD):
            with contextlib.suppress(OSError):
                os.unlink(socket)
        for parent in ("docker", "default"):
            # They leave those of their containers behind.
            for folder, _, _ in os.walk(f"/sys/fs/cgroup/{parent}", topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)


class Systemd:
    """systemd, in a cgroup and a PID namespace of its own, as in a container that has a whole machine inside: it makes the cgroups there."""

    group = f"{CGROUPS}/sd"
    # The least that can be asked to make a scope: the bus.
    units = {
        "dbus.socket": "[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=/run/dbus/system_bus_socket\n",
        "dbus.service": "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\nAfter=dbus.socket\n[Service]\nType=notify\n"
        "ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation --syslog-only\n",
        "case.target": "[Unit]\nDefaultDependencies=no\nRequires=dbus.socket dbus.service\nAfter=dbus.socket dbus.service\n",
    }
    begin = """echo 0 >"$1/cgroup.procs"
exec unshare --cgroup --pid --mount --fork --kill-child sh -c '
    mount --make-rprivate / && mount -t proc proc /proc && umount -l /sys/fs/cgroup && mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
    exec env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin container=other /usr/lib/systemd/systemd --system --unit=case.target --show-status=no'
"""

    def __init__(self):
        os.makedirs("/etc/systemd/system", exist_ok=True)
        for name, text in self.units.items():
            with open(f"/etc/systemd/system/{name}", "w", encoding="ascii") as file:
                file.write(text)
        with open("/etc/machine-id", "w", encoding="ascii") as file:
            file.write("a" * 32 + "\n")
        if "\nmessagebus:" not in (read("/etc/passwd") or ""):
            for name, more in (("passwd", ":/nonexistent:/usr/sbin/nologin"), ("group", "")):
                with open(f"/etc/{name}", "a", encoding="ascii") as file:
                    file.write(f"messagebus:x:901:{'901:' if name == 'passwd' else ''}{more}\n")
        os.mkdir(self.group)
        os.mkdir(f"{self.group}/login")
        self.process = subprocess.Popen(["sh", "-c", self.begin, "sh", self.group], stdin=subprocess.DEVNULL)
        children = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        until(lambda: read(children), 20)
        # It isn't of the namespace, whose first cgroup must be free to have others below.
        write(f"{CGROUPS}/cgroup.procs", str(self.process.pid))
        report("systemd is there", until(lambda: os.path.exists("/run/dbus/system_bus_socket"), 60), read(children))
        # What goes before a command, that it is done there as by somebody who has logged in.
        enter = f'echo 0 >{self.group}/login/cgroup.procs; exec nsenter -t {read(children)} -p -m -C -- "$@"'
        self.within = ["sh", "-c", enter, "sh"]

    def first_of(self, container):
        """The first process in the scope of this container, by its number outside."""
        found = glob.glob(f"{self.group}/*/*{container}.scope/**/cgroup.procs", recursive=True)
        return min((int(pid) for file in found if "conmon" not in file for pid in (read(file) or "").split()), default=0)

    def end(self):
        """Ends it, and all that it has."""
        self.process.kill()
        self.process.wait(30)
        until(lambda: not (read(self.group, "cgroup.events") or "").startswith("populated 1"), 20)
        for folder, _, _ in os.walk(self.group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
