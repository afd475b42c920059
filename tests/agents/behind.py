"""What a tool behind a shim sees, and what its caller sees of it."""

import json
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable

from stage import GUARD, Stage

REAL_BASH = "/bin/bash"


class Scene:
    """A folder of tools, a folder of shims before it in PATH, and the log."""

    def __init__(self, stage: Stage, binaries: str):
        self.stage = stage
        self.launcher = f"{binaries}/agentsh"
        self.ctl = f"{binaries}/agentshctl"
        self.shims, self.real = f"{stage.folder}/shims", f"{stage.folder}/real"
        os.mkdir(self.real)
        # A program that does what it is told, one that is a script, and one that doesn't say by what it is to be run.
        os.symlink(REAL_BASH, f"{self.real}/make")
        self.tool(self.real, "pytest", '#!/bin/sh\necho "$0 $*"; cat /proc/self/cgroup; exit 5\n')
        self.tool(self.real, "npm", 'echo "npm $*"; exit 6\n')
        self.path = f"{self.shims}:{self.real}:/usr/bin:/bin"
        self.control("install", self.shims, "make", "pytest", "npm", "git", "python3", "go")

    def control(self, *words: str, status: int = 0, path: str | None = None) -> str:
        """Runs `agentshctl shims`."""
        done = subprocess.run([self.ctl, "shims", *words], capture_output=True, text=True, timeout=GUARD, check=False,
                              env={**self.stage.environment, "PATH": path or self.path})
        if done.returncode != status:
            raise SystemExit(f"agentshctl shims {' '.join(words)}: status {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def tool(self, folder: str, name: str, text: str) -> None:
        """Makes a script."""
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{folder}/{name}", 0o755)

    def environment(self, **more: str) -> dict[str, str]:
        """With the shims in PATH."""
        return {**self.stage.environment, "PATH": self.path, **more}

    def run(self, program: str, *args: str | bytes, argv0: str | None = None, **options) -> subprocess.CompletedProcess:
        """Runs a program to its end."""
        argv = [argv0 if argv0 is not None else os.path.basename(program), *args]
        options.setdefault("env", self.environment())
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run(argv, executable=program, capture_output=True, timeout=GUARD, check=False, cwd=self.stage.work, **options)

    def forget(self) -> None:
        """Empties the log."""
        if os.path.exists(self.stage.log):
            os.truncate(self.stage.log, 0)

    def log(self) -> list[dict]:
        """The log's records since then."""
        try:
            with open(self.stage.log, encoding="utf-8") as file:
                return [json.loads(line) for line in file]
        except FileNotFoundError:
            return []

    def same(self, *args: str | bytes, tool: str = "make", **options) -> list[str]:
        """What differs between the tool and its shim."""
        self.forget()
        plain = self.run(f"{self.real}/{tool}", *args, **options)
        if self.log():
            return ["the plain tool is in the log"]
        seen = self.run(f"{self.shims}/{tool}", *args, **options)
        differing = [(what, getattr(plain, what), getattr(seen, what)) for what in ("returncode", "stdout", "stderr")]
        faults = [f"{what}: {a!r} plain, {b!r} through the shim" for what, a, b in differing if a != b]
        return faults + self.logged(tool, seen.returncode)

    def logged(self, tool: str, status: int) -> list[str]:
        """The log has one line, of a leaf, that names the shim."""
        log = self.log()
        if len(log) != 1:
            return [f"{len(log)} lines in the log: {log}"]
        wanted = {"placement": "leaf", "shim": tool, "exit": None if status < 0 else status, "signal": -status if status < 0 else None}
        return [f"{key} {log[0].get(key)!r} in the log, expected {value!r}" for key, value in wanted.items() if log[0].get(key) != value]


CASES: list[tuple[str, Callable[[Scene], list[str]]]] = []


def case(name: str):
    """Registers a case."""
    def add(function: Callable[[Scene], list[str]]):
        CASES.append((name, function))
        return function
    return add


def same(name: str, *args: str | bytes, **options) -> None:
    """Registers a case that compares the tool with its shim."""
    CASES.append((name, lambda scene: scene.same(*args, **options)))


def _odd_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    for number in (signal.SIGUSR2, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _odd_process() -> None:
    os.umask(0o27)
    os.nice(3)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))


same("Arguments of any bytes arrive", "-c", 'printf "[%s]" "$0" "$@"', "zero", "a b", "", "it's\n", b"\xff\xfe", "$(x)", "-x")
same("argv[0] is the caller's", "-c", "echo $0; nope-nope", argv0="/odd/place/make")
for _status in (0, 1, 2, 126, 127, 128, 143, 255):
    same(f"Status {_status} is handed on", "-c", f"exit {_status}")
for _signal in ("TERM", "KILL", "SEGV", "INT", "PIPE"):
    same(f"The end by SIG{_signal} is handed on", "-c", f"kill -{_signal} $$; sleep 5")
same("Input, output and errors go where they belong", "-c", "cat; echo err >&2; exit 3", input=b"\x00line\n" * 50_000)
same("Blocked and ignored signals stay so", "-c", "grep -E '^Sig(Blk|Ign|Cgt)' /proc/$$/status", preexec_fn=_odd_signals)
same("Limits, umask, niceness and folder stay so", "-c", "ulimit -a; umask; nice; pwd", preexec_fn=_odd_process)
same("No descriptor is added or lost", "-c", "cd /proc/$$/fd && echo *")


@case("The environment is the caller's, and nothing is added")
def _environment(scene: Scene) -> list[str]:
    return scene.same("-c", "env | sort", env=scene.environment(A="1", B="x\ny"))


@case("A script behind a shim is told the path that it was found at, and is in a leaf of its class")
def _script(scene: Scene) -> list[str]:
    scene.forget()
    seen = scene.run(f"{scene.shims}/pytest", "a b", "c")
    lines = seen.stdout.decode().splitlines()
    leaf = (scene.log() or [{}])[0].get("leaf") or "none"
    faults = [] if lines[:1] == [f"{scene.real}/pytest a b c"] else [f"it printed {lines}"]
    if not any(line.endswith(f"/calls/{leaf}") for line in lines) or not leaf.startswith("test-"):
        faults.append(f"it ran in {lines[1:]}, the log has {leaf}")
    return faults + scene.logged("pytest", 5)


@case("A script without #! is run by sh, as whoever looks in PATH does")
def _plain_script(scene: Scene) -> list[str]:
    scene.forget()
    seen = scene.run(REAL_BASH, "-c", "npm a b")
    return ([] if seen.stdout == b"npm a b\n" else [f"{seen}"]) + scene.logged("npm", 6)


@case("A signal to its pid reaches the tool once, and one to its group too")
def _signals(scene: Scene) -> list[str]:
    faults = []
    for to_group in (False, True):
        process = subprocess.Popen(["make", "-c", "trap 'echo term' TERM; echo ready; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done; exit 4"],
                                   executable=f"{scene.shims}/make", stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=scene.environment(), start_new_session=True)
        process.stdout.readline()
        (os.killpg if to_group else os.kill)(process.pid, signal.SIGTERM)
        try:
            said, _ = process.communicate(timeout=GUARD)
        except subprocess.TimeoutExpired:
            process.kill()
            return ["it hangs"]
        if (said, process.returncode) != (b"term\n", 4):
            faults.append(f"to the {'group' if to_group else 'pid'}: {said!r}, status {process.returncode}")
    return faults


@case("It stops when the tool stops, and both go on")
def _stops(scene: Scene) -> list[str]:
    process = subprocess.Popen(["make", "-c", "kill -STOP $$; exit 3"], executable=f"{scene.shims}/make", env=scene.environment())
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        return [f"wait status {status:#x}"]
    os.kill(process.pid, signal.SIGCONT)
    return [] if process.wait(timeout=GUARD) == 3 else [f"status {process.returncode}"]


@case("A script whose #! names a shim is run by the tool behind it")
def _named_by_script(scene: Scene) -> list[str]:
    scene.forget()
    scene.tool(f"{scene.stage.folder}/scripts", "tool.py", f"#!{scene.shims}/python3 -B\nimport sys\nprint(sys.argv[1:])\n")
    seen = scene.run(f"{scene.stage.folder}/scripts/tool.py", "a", "b c")
    return ([] if seen.stdout == b"['a', 'b c']\n" else [f"{seen}"]) + scene.logged("python3", 0)


# What pyenv does, and rbenv, nodenv, goenv, which come from the same source: a shim of its own looks the version up, takes its
# folder of shims out of PATH, executes what is found then, and says by two variables what it has looked up.
VERSION_MANAGER = """#!/bin/sh
export TOYENV_ROOT="@ROOT@" TOYENV_VERSION="${TOYENV_VERSION:-system}"
echo "looked up $TOYENV_VERSION" >&2
before=$PATH
PATH=$(echo "$PATH" | sed "s,$TOYENV_ROOT/shims:,,")
if [ "$TOYENV_VERSION" = system ]; then found=$(command -v make); else found=$TOYENV_ROOT/versions/$TOYENV_VERSION/make; fi
PATH=$before exec "$found" "$@"
"""


@case("A version manager that hands on to the system's tool finds it after one look, and so do its descendants")
def _version_manager(scene: Scene) -> list[str]:
    root = f"{scene.stage.folder}/toyenv"
    scene.tool(f"{root}/shims", "make", VERSION_MANAGER.replace("@ROOT@", root))
    scene.tool(f"{root}/versions/3.1", "make", "#!/bin/sh\necho three $*\n")
    path = f"{scene.shims}:{root}/shims:{scene.real}:/usr/bin:/bin"
    scene.forget()
    system = scene.run(f"{scene.shims}/make", "-c", "make -c 'echo in'; echo out", env=scene.environment(PATH=path))
    faults = [] if (system.stdout, system.stderr) == (b"in\nout\n", b"looked up system\n") else [f"system: {system}"]
    other = scene.run(f"{scene.shims}/make", "x", env=scene.environment(PATH=path, TOYENV_VERSION="3.1"))
    return faults if (other.stdout, other.stderr) == (b"three x\n", b"looked up 3.1\n") else [*faults, f"3.1: {other}"]


@case("ccache under a compiler's name gets the compiler that it would have found, and so its date, and asks once")
def _ccache(scene: Scene) -> list[str]:
    if not (ccache := shutil.which("ccache", path="/usr/bin:/bin")):
        return ["no ccache here: tests/setup installs it"]
    masquerade = f"{scene.stage.folder}/masquerade"
    os.mkdir(masquerade)
    os.symlink(ccache, f"{masquerade}/gcc")
    scene.control("install", scene.shims, "gcc")
    source = f"{scene.stage.work}/one.c"
    with open(source, "w", encoding="utf-8") as file:
        file.write("int main(void) { return 0; }\n")
    faults = []
    for shims in ("", f"{scene.shims}:"):
        log = f"{scene.stage.folder}/ccache.log"
        environment = scene.environment(PATH=f"{shims}{masquerade}:/usr/bin:/bin", CCACHE_DIR=f"{scene.stage.folder}/cache", CCACHE_LOGFILE=log)
        seen = scene.run(f"{scene.shims if shims else masquerade}/gcc", "-c", source, "-o", f"{scene.stage.work}/one.o", env=environment)
        with open(log, encoding="utf-8", errors="replace") as file:
            said = file.read()
        os.unlink(log)
        # The second time it is there already: it is the same compiler.
        found = "Succeeded getting cached result" if shims else "Running real compiler"
        if seen.returncode or seen.stderr or found not in said or f"{scene.shims}/" in said:
            faults.append(f"{shims}: {seen}, {said[-3000:]}")
    return faults


@case("A wrapper that always comes back to the shim is left at last, and what the tool starts then is found at once")
def _circle(scene: Scene) -> list[str]:
    wrapper = f"{scene.stage.folder}/wrapper"
    scene.tool(wrapper, "make", "#!/bin/sh\nexec make \"$@\"\n")
    scene.tool(wrapper, "pytest", "#!/bin/sh\necho the first one\n")
    seen = scene.run(f"{scene.shims}/make", "-c", "pytest; echo on", env=scene.environment(PATH=f"{scene.shims}:{wrapper}:{scene.real}"))
    return [] if seen.stdout == b"the first one\non\n" else [f"{seen}"]


@case("Within a call, shims only step aside: one leaf, one line in the log")
def _nested(scene: Scene) -> list[str]:
    scene.forget()
    seen = scene.run(f"{scene.shims}/make", "-c", "pytest; make -c 'cat /proc/self/cgroup'; cat /proc/self/cgroup")
    places = {line for line in seen.stdout.decode().splitlines() if line.startswith("0::")}
    return scene.logged("make", 0) + ([] if len(places) == 1 else [f"it was in {places}"])


@case("A call of the shell has one leaf for all its shims")
def _in_a_call(scene: Scene) -> list[str]:
    scene.forget()
    scene.run(scene.stage.bash, "-c", "pytest; npm x; true", argv0="bash")
    log = scene.log()
    return [] if len(log) == 1 and "shim" not in log[0] else [f"{log}"]


@case("The log's command is what was typed, quoted as needed")
def _command(scene: Scene) -> list[str]:
    scene.forget()
    scene.run(f"{scene.shims}/pytest", "-k", "a and b", "it's", env=scene.environment())
    command = (scene.log() or [{}])[0].get("command")
    return [] if command == r"pytest -k 'a and b' 'it'\''s'" else [f"{command}"]


@case("Without a program behind it, a shim is not found: 127")
def _not_found(scene: Scene) -> list[str]:
    scene.forget()
    seen = scene.run(f"{scene.shims}/go", "test", env=scene.environment(PATH=f"{scene.shims}:{scene.real}"))
    good = seen.returncode == 127 and b"go: command not found" in seen.stderr and not scene.log()
    return [] if good else [f"{seen} {scene.log()}"]


@case("A wrapper that finds the shim again doesn't go round for ever, and the program behind it runs")
def _circle(scene: Scene) -> list[str]:
    wrapper, behind = f"{scene.stage.folder}/wrapper", f"{scene.stage.folder}/behind"
    scene.tool(wrapper, "go", '#!/bin/sh\nexec go "$@"\n')
    scene.tool(behind, "go", '#!/bin/sh\necho "went $1"; exit 9\n')
    alone = scene.run(f"{scene.shims}/go", "x", env=scene.environment(PATH=f"{scene.shims}:{wrapper}:/usr/bin:/bin"))
    seen = scene.run(f"{scene.shims}/go", "x", env=scene.environment(PATH=f"{scene.shims}:{wrapper}:{behind}:/usr/bin:/bin"))
    faults = [] if alone.returncode == 127 and b"again and again" in alone.stderr else [f"alone: {alone}"]
    return faults + ([] if (seen.returncode, seen.stdout) == (9, b"went x\n") else [f"{seen}"])


@case("A copy and a hard link of agentsh by a tool's name are shims too")
def _copies(scene: Scene) -> list[str]:
    faults = []
    for kind, make in (("copy", shutil.copy2), ("hard link", os.link)):
        folder = f"{scene.stage.folder}/{kind.replace(' ', '_')}"
        os.mkdir(folder)
        make(f"{scene.stage.folder}/prefix/bin/bash", f"{folder}/make")
        scene.forget()
        seen = scene.run(f"{folder}/make", "-c", "exit 3", env=scene.environment(PATH=f"{folder}:{scene.path}"))
        faults += [f"{kind}: {fault}" for fault in scene.logged("make", 3)]
        faults += [] if seen.returncode == 3 else [f"{kind}: {seen}"]
    return faults


@case("Python finds its virtual environment, as by its own path")
def _virtual_environment(scene: Scene) -> list[str]:
    venv = f"{scene.stage.folder}/venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", venv], check=True, timeout=GUARD, env=scene.stage.environment)
    environment, faults = scene.environment(PATH=f"{scene.shims}:{venv}/bin:/usr/bin:/bin"), []
    # By its name, by the path that `command -v` tells, and by one that means another program, which it is to believe.
    for argv0, found in (("python3", f"{venv}/bin/python3"), (f"{scene.shims}/python3", f"{venv}/bin/python3"),
                         ("/usr/bin/python3", "/usr/bin/python3")):
        scene.forget()
        seen = scene.run(f"{scene.shims}/python3", "-c", "import sys; print(sys.prefix, sys.executable)", argv0=argv0, env=environment)
        expected = f"{os.path.dirname(os.path.dirname(found))} {found}\n"
        faults += scene.logged("python3", 0) + ([] if seen.stdout.decode() == expected else [f"as {argv0}: {seen}"])
    return faults


@case("gcc behind its shim finds its compilers and its linker")
def _gcc(scene: Scene) -> list[str]:
    scene.control("install", scene.shims, "gcc", "cc")
    with open(f"{scene.stage.work}/nothing.c", "w", encoding="ascii") as file:
        file.write("int main(void) { return 0; }\n")
    faults = []
    for name, argv0 in (("gcc", "gcc"), ("cc", "cc"), ("cc", f"{scene.shims}/cc")):
        seen = scene.run(f"{scene.shims}/{name}", "nothing.c", "-o", "nothing", argv0=argv0)
        faults += [] if seen.returncode == 0 else [f"{argv0}: {seen}"]
    return faults


@case("AGENTSH_OFF=1 leaves the tool alone")
def _off(scene: Scene) -> list[str]:
    scene.forget()
    seen = scene.run(f"{scene.shims}/make", "-c", "exit 3", env=scene.environment(AGENTSH_OFF="1"))
    return [] if seen.returncode == 3 and not scene.log() else [f"{seen} {scene.log()}"]


@case("agentshctl shims installs what there is, lists it, and removes what it made")
def _control(scene: Scene) -> list[str]:
    folder = f"{scene.stage.folder}/more"
    scene.tool(folder, "pytest", "#!/bin/sh\n")
    # pytest is something else there, and stays; of the usual names PATH has these two besides.
    said = scene.control("install", folder, path=f"{scene.real}:/nowhere", status=1)
    faults = [] if sorted(os.listdir(folder)) == ["make", "npm", "pytest"] and "stays" in said else [f"{os.listdir(folder)}: {said}"]
    listed = scene.control("list", folder, path=f"{folder}:{scene.real}").split()
    faults += [] if listed == ["make", f"{scene.real}/make", "npm", f"{scene.real}/npm"] else [f"{listed}"]
    scene.control("install", folder, "own-tool", path=scene.path)
    faults += [] if "no program" in scene.control("list", folder, path=scene.path, status=1) else ["own-tool is not told of"]
    scene.control("install", folder, "../x", path=scene.path, status=2)
    scene.control("remove", folder)
    return faults + ([] if os.listdir(folder) == ["pytest"] else [f"{os.listdir(folder)} is left"])
