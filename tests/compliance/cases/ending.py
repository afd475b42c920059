"""How a command ends: exit statuses and deaths by signal, as the caller sees them."""

import os
import re
import signal

from suite.case import command, scene
from suite.outcome import signal_name

command("A command that succeeds exits 0", "true")
command("A command's exit status is the caller's", "exit 7", status=7)
command("Exit 256 wraps to 0", "exit 256")
command("Exit 257 wraps to 1", "exit 257", status=1)
command("Exit -1 wraps to 255", "exit -1", status=255)
command("Exit with a word that is no number says so and exits 2", "exit four", err="bash: line 1: exit: four: numeric argument required\n", status=2)
command("Exit without an argument exits with the last command's status", "(exit 9)\nexit", status=9)
command("The last command's status is the shell's", "true; (exit 41)", status=41)
command("The last command of a pipeline decides", "exit 3 | exit 5", status=5)
command("With pipefail the rightmost failure decides", "set -o pipefail; exit 3 | exit 5 | true", status=5)
command("PIPESTATUS has every part's status", 'exit 3 | exit 5 | true; echo "${PIPESTATUS[@]}"', out="3 5 0\n")
command("An inverted pipeline inverts the status", "! true", status=1)
command("A command that does not exist exits 127", "no-such-command-here", err="bash: line 1: no-such-command-here: command not found\n", status=127)
command("A path that does not exist exits 127", "./none", err="bash: line 1: ./none: No such file or directory\n", status=127)
command("A file that may not be executed exits 126", ": >file; ./file", err="bash: line 1: ./file: Permission denied\n", status=126)
command("A folder as a command exits 126", "mkdir d; ./d", err="bash: line 1: ./d: Is a directory\n", status=126)
command("A script with an interpreter that is missing exits 127", "./s", files={"s": "#!/no/such/interpreter\n"},
        err="bash: line 1: ./s: cannot execute: required file not found\n", status=127)
command("A binary of no known format exits 126", "./b", files={"b": b"\x7fELF\0\0\0\0rubbish"},
        err="bash: line 1: ./b: cannot execute binary file: Exec format error\n", status=126)
command("A file without #! is run as a script by the shell itself", "./s a b", files={"s": "echo $0 $1 $2; exit 6\n"}, out="./s a b\n", status=6)
command("Exec of a missing command exits 127 without going on", "exec no-such-command-here; echo on",
        err="bash: line 1: exec: no-such-command-here: not found\n", status=127)
command("Exec of a file that may not be executed exits 126", ": >file; exec ./file; echo on",
        err="bash: line 1: @DIR@/work/file: Permission denied\nbash: line 1: exec: @DIR@/work/file: cannot execute: Permission denied\n",
        status=126)
command("Exec of a missing command with execfail goes on", "shopt -s execfail; exec no-such-command-here; echo on $?",
        out="on 127\n", err="bash: line 1: exec: no-such-command-here: not found\n")
command("A syntax error exits 2", "if true", err="bash: -c: line 2: syntax error: unexpected end of file\n", status=2)
command("A syntax error shows its line", "echo a\necho )b",
        out="a\n", err="bash: -c: line 2: syntax error near unexpected token `)'\nbash: -c: line 2: `echo )b'\n", status=2)
command("A parameter that must be set ends the shell with 127", ': "${nothing?is unset}"; echo on', err="bash: line 1: nothing: is unset\n", status=127)
command("Errexit ends the shell with the status that failed", "set -e; (exit 12); echo on", status=12)
command("The EXIT trap runs and keeps the status", "trap 'echo bye $?' EXIT; exit 3", out="bye 3\n", status=3)
command("The EXIT trap may change the status", "trap 'exit 8' EXIT; exit 3", status=8)
command("The ERR trap sees the failing status", "trap 'echo err $?' ERR; (exit 4); true", out="err 4\n")


@scene("A child killed by a signal is reported by the shell, and counts as 128 and the signal's number",
       stdout=b"137\n", message=b"bash: line 1: PID Killed                  sh -c 'kill -9 $$'\n", status="exit 0")
def _child_killed(stage):
    done = stage.run("-c", "sh -c 'kill -9 $$'; echo $?")
    stage.note(stdout=done.out, message=re.sub(rb" +\d+ Killed", b" PID Killed", done.err), status=done.status)


@scene("Every exit status from 0 to 255 reaches the caller", statuses=[f"exit {number}" for number in range(256)])
def _every_status(stage):
    stage.note(statuses=[stage.run("-c", f"exit {number}").status for number in range(256)])


# Those that end a shell; STOP and its like are in signals.py, and bash ignores SIGQUIT.
DEADLY = [number for number in signal.valid_signals() if number not in (
    signal.SIGQUIT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT, signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH)
    and number not in (32, 33) and number <= 35]

for _number in DEADLY:
    _name = signal_name(_number)
    command(f"A shell that kills itself with {_name} is seen to die of {_name}", f"kill -{int(_number)} $$; echo survived",
            status=f"killed by {_name}", stdin="null")

command("SIGQUIT is ignored, as bash ignores it", "kill -QUIT $$; echo survived", out="survived\n")
command("A shell's death by SIGSEGV leaves no word on stderr", "kill -SEGV $$", status="killed by SIGSEGV")
command("A command that replaced the shell dies of its own signal", "exec sh -c 'kill -TERM $$'", status="killed by SIGTERM")
command("A lone command's death by signal is the caller's to see", "exec perl -e 'kill 15, $$; sleep 20'", status="killed by SIGTERM")


@scene("SIGPIPE ends a writer whose reader has gone", stdout=b"y\n", err=b"", statuses="141 0\n")
def _broken_pipe(stage):
    done = stage.run("-c", 'yes | head -1; echo "${PIPESTATUS[@]}" >statuses')
    with open("statuses", encoding="ascii") as file:
        stage.note(stdout=done.out, err=done.err, statuses=file.read())


@scene("A shell whose output has no reader dies of SIGPIPE", status="killed by SIGPIPE", stderr=b"")
def _no_reader(stage):
    reader, writer = os.pipe()
    os.close(reader)
    done = stage.run("-c", "echo lost; echo survived >&2", stdout=writer)
    stage.note(status=done.status, stderr=done.err)
