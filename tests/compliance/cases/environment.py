"""The environment: byte for byte and in order; the variables that a shell makes; the files it reads at its start."""

import os
import socket

from suite.case import call, command, scene
from suite.stage import PIPE


@scene("The environment that a command sees has nothing added, byte for byte and in order",
       stdout=b"FIRST=1\0PWD=@DIR@/work\0LAST=z\0SHLVL=0\0")
def _exact(stage):
    stage.note(stdout=_sorted_in_place(stage.run("-c", "exec /usr/bin/env -0", env=[b"FIRST=1", b"LAST=z"]).out))


def _sorted_in_place(raw: bytes) -> bytes:
    """The order is that of bash's hash table: the same for the same names, checked by the next case."""
    rank = [b"FIRST", b"PWD", b"LAST", b"SHLVL"]
    parts = raw.split(b"\0")[:-1]
    known = [part for name in rank for part in parts if part.split(b"=")[0] == name]
    return b"".join(part + b"\0" for part in known + [part for part in parts if part not in known])


@scene("The order of the environment is that of real bash", same=True)
def _order(stage):
    variables = [b"V%d=%d" % (number * 7919 % 101, number) for number in range(60)] + [b"PATH=/usr/bin:/bin"]
    ours = stage.run("-c", "exec /usr/bin/env -0", env=variables).out
    theirs = stage.run("-c", "exec /usr/bin/env -0", env=variables, program="/bin/bash").out
    stage.note(same=ours == theirs)


@scene("The environment at the shell's own start is the caller's, byte for byte", environ=b"B=2\0A=1\0B=again\0no-equals\0=empty\0N\xff=\xfe\0A B=c\0")
def _raw_start(stage):
    raw = [b"B=2", b"A=1", b"B=again", b"no-equals", b"=empty", b"N\xff=\xfe", b"A B=c"]
    done = stage.run("-c", "while IFS= read -r -d '' v; do printf '%s\\0' \"$v\"; done </proc/$$/environ", env=raw)
    stage.note(environ=done.out)


command("An empty environment stays as empty as bash leaves it", "exec /usr/bin/env", env=[], out="PWD=@DIR@/work\nSHLVL=0\n")
command("A variable of 100,000 bytes arrives", "echo ${#LONG}", env={"LONG": "x" * 100_000}, out="100000\n")
command("A thousand variables arrive", "compgen -e V_ | wc -l", env={f"V_{number}": "x" for number in range(1000)}, out="1000\n")
command("A doubled variable has the value that bash takes", "echo $D; env | grep -c ^D=", env=[b"D=one", b"D=two", b"PATH=/usr/bin:/bin"], out="two\n1\n")
command("A variable of non-UTF-8 bytes arrives", "echo $RAW", env=[b"RAW=\xff\x80\x01"], out=b"\xff\x80\x01\n")
command("An exported function arrives", "f x", env={"BASH_FUNC_f%%": "() {  echo in f $1\n}"}, out="in f x\n")
command("SHLVL grows by one for each shell", "echo $SHLVL; bash -c 'echo $SHLVL; true'; true", env={"SHLVL": "4"}, out="5\n6\n")
command("SHLVL is 1 without a caller's", "echo $SHLVL", out="1\n")
command("SHLVL of rubbish is 1", "echo $SHLVL", env={"SHLVL": "rubbish"}, out="1\n")
command("The caller's _ is the command's first", "echo $_", env={"_": "/caller"}, argv0="/x/bash", out="/caller\n")
command("OLDPWD is unset when the caller has none", 'echo "${OLDPWD-unset}"; cd -', out="unset\n", err="bash: line 1: cd: OLDPWD not set\n", status=1)
command("OLDPWD of the caller's is taken when it is a folder", "echo $OLDPWD", env={"OLDPWD": "/usr"}, out="/usr\n")
command("PWD of the caller's is taken when it is right, links and all", "pwd; pwd -P", env={"PWD": "@none"}, out="@DIR@/work\n@DIR@/work\n")


@scene("PWD by a symbolic link is kept", stdout=b"@DIR@/work/link\n@DIR@/work/real\n")
def _linked_pwd(stage):
    os.mkdir("real")
    os.symlink("real", "link")
    stage.note(stdout=stage.run("-c", "pwd; pwd -P", env={"PWD": f"{stage.work}/link"}, before=lambda _: os.chdir("link")).out)


command("PATH has bash's default when the caller has none", "echo $PATH; env | grep -c PATH=", env=[b"A=1"],
        out="/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin:.\n0\n", status=1)
command("IFS of the caller's is ignored", "x=a:b; set -- $x; echo $#", env={"IFS": ":"}, out="1\n")
command("BASH_VERSION and PPID of the caller's are overruled", 'echo "${BASH_VERSION:0:1} $((PPID != 77))"', env={"PPID": "77", "BASH_VERSION": "x"},
        out="5 1\n")
command("SHELLOPTS of the caller's is obeyed", "echo $-; false | true", env={"SHELLOPTS": "errexit:pipefail"}, out="ehBc\n", status=1)
command("BASHOPTS of the caller's is obeyed", "shopt extglob", env={"BASHOPTS": "extglob"}, out="extglob        \ton\n")
command("POSIXLY_CORRECT of the caller's is obeyed", "shopt -o posix", env={"POSIXLY_CORRECT": "1"}, out="posix          \ton\n")
command("BASH_EXECUTION_STRING is the command", "echo \"$BASH_EXECUTION_STRING\"", out='echo "$BASH_EXECUTION_STRING"\n')
command("BASH is found by argv[0]", "echo $BASH", argv0="/some/where/bash", out="/some/where/bash\n")
command("BASH by a bare argv[0] is looked up in PATH", "echo $BASH", out="@BIN@/bash\n")
command("BASH_ARGV0 and BASHPID are the shell's", 'echo $BASH_ARGV0 $((BASHPID == $$))', out="bash 1\n")
command("AGENT variables of the caller's pass through untouched", "env | grep ^AGENT | grep -v SH_ | sort", env={"AGENT_RESOURCE_HINT": "memory:low", "AGENTX": "1"},
        out="AGENTX=1\nAGENT_RESOURCE_HINT=memory:low\n")

RC = {"rc": "echo rc $- $0 $BASH_ENV $*\n"}
command("BASH_ENV is read before a command", "echo main", "n", "a", env={"BASH_ENV": "./rc"}, files=RC, out="rc hBc n ./rc a\nmain\n")
call("BASH_ENV is read before a script", "./s", "a", env={"BASH_ENV": "./rc"}, files=RC | {"s": "echo main\n"}, out="rc hB ./s ./rc a\nmain\n")
call("BASH_ENV is read before commands on standard input", env={"BASH_ENV": "./rc"}, files=RC, input=b"echo main\n", out="rc hB bash ./rc\nmain\n")
command("BASH_ENV is expanded", "echo main", env={"BASH_ENV": "$HOME/../work/r$((0))c"}, files={"r0c": "echo rc\n"}, out="rc\nmain\n")
command("BASH_ENV that is missing is no error", "echo main", env={"BASH_ENV": "./none"}, out="main\n")
command("BASH_ENV that exits ends the shell", "echo main", env={"BASH_ENV": "./rc"}, files={"rc": "exit 9\n"}, status=9)
command("BASH_ENV is read once for each shell", "bash -c 'echo inner; true'", env={"BASH_ENV": "./rc"}, files={"rc": "echo rc\n"}, out="rc\nrc\ninner\n")
call("BASH_ENV is not read in POSIX mode", "-c", "echo main", argv0="sh", env={"BASH_ENV": "./rc", "ENV": "./rc"}, files=RC, out="main\n")
call("BASH_ENV is not read when privileged", "-pc", "echo main", env={"BASH_ENV": "./rc"}, files=RC, out="main\n")


def _homely(stage):
    for name in (".bashrc", ".bash_profile", ".profile", ".bash_login", ".bash_logout"):
        with open(f"{stage.home}/{name}", "w", encoding="ascii") as file:
            file.write(f"echo {name}\n")


command("A command reads no file at its start", "echo main", before=_homely, out="main\n")
call("A login command reads .bash_profile", "-lc", "echo main", before=_homely, out=".bash_profile\nmain\n")
call("A login command that exits reads .bash_logout", "-lc", "echo main; exit", before=_homely, out=".bash_profile\nmain\n.bash_logout\n")
call("A login sh reads .profile", "-lc", "echo main", argv0="sh", before=_homely, out=".profile\nmain\n")
call("--noprofile keeps a login command from reading files", "--noprofile", "-lc", "echo main", before=_homely, out="main\n")
call("An interactive command reads .bashrc", "-ic", "echo main $-", before=_homely, out=".bashrc\nmain hiBHc\n",
     err="bash: cannot set terminal process group (@PGRP@): Inappropriate ioctl for device\nbash: no job control in this shell\n")
call("--rcfile names what an interactive command reads", "--rcfile", "./rc", "-ic", "echo main", files={"rc": "echo my rc\n"}, before=_homely,
     out="my rc\nmain\n", err="bash: cannot set terminal process group (@PGRP@): Inappropriate ioctl for device\nbash: no job control in this shell\n")
call("--norc keeps an interactive command from reading .bashrc", "--norc", "-ic", "echo main", before=_homely,
     out="main\n", err="bash: cannot set terminal process group (@PGRP@): Inappropriate ioctl for device\nbash: no job control in this shell\n")


def _by_socket(stage, **options):
    ours, theirs = socket.socketpair()
    ours.close()
    stage.note(stdout=stage.run("-c", "echo main", stdin=theirs.fileno(), before=_homely, **options).out)


@scene("A first shell whose standard input is a socket reads .bashrc, as bash does for rsh", stdout=b".bashrc\nmain\n")
def _socket_input(stage):
    _by_socket(stage)


@scene("A nested shell whose standard input is a socket reads no .bashrc", stdout=b"main\n")
def _nested_socket_input(stage):
    _by_socket(stage, env={"SHLVL": "2"})


@scene("The environment of a running shell stays that of its start in /proc", environ=b"A=1\0PATH=/usr/bin:/bin\0")
def _proc_environ(stage):
    shell = stage.start("-c", "export B=2; echo $$; read x", env=[b"A=1", b"PATH=/usr/bin:/bin"], stdin=PIPE)
    with open(f"/proc/{int(shell.read_line())}/environ", "rb") as file:
        stage.note(environ=file.read())
    shell.finish(b"\n")
