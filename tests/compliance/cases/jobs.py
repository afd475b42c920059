"""Jobs, children, survivors: what the shell starts, waits for and leaves."""

import os
import signal

from suite.case import call, command, scene
from suite.process import alive, children_of
from suite.stage import PIPE

command("wait gives a background command's status", "(exit 6) & wait $!; echo $?", out="6\n")
command("wait without arguments waits for all and gives 0", "(exit 1) & (exit 2) & wait; echo $?", out="0\n")
command("wait -n gives the next one's status", "(exit 5) & wait -n; echo $?", out="5\n")
command("wait -n -p names the next one", "(exit 5) & p=$!; wait -n -p got; echo $? $((got == p))", out="5 1\n")
command("wait for a pid that is no child is an error", "wait 1; echo $?", out="127\n", err="bash: line 1: wait: pid 1 is not a child of this shell\n")
command("jobs lists what runs", "sleep 100 & jobs; kill $!; wait 2>/dev/null", out="[1]+  Running                 sleep 100 &\n")
command("jobs -p gives the pids", "sleep 100 & [ $(jobs -p) = $! ] && echo same; kill %1; wait 2>/dev/null; true", out="same\n")
command("kill %1 ends the job", "sleep 100 & kill %1; wait %1; echo $?", out="143\n")
command("disown takes a job out of the list", "sleep 0.3 & disown; jobs; wait; echo $?", out="0\n")
command("set -m gives each job a group of its own", "exec 2>/dev/null; set -m; /bin/sh -c 'ps -o pgid= -p $$ | tr -d \" \"' >g & p=$!; wait; [ $(cat g) = $p ] && echo own", out="own\n")
command("set -m leaves the shell's own group as it was", "g() { ps -o pgid= -p $$; }; a=$(g); set -m; [ \"$a\" = \"$(g)\" ] && echo same", out="same\n")
call("-m with a command and without a terminal says that it can't", "-mc", "echo on $-", out="on hBc\n",
     err="bash: cannot set terminal process group (@PGRP@): Inappropriate ioctl for device\nbash: no job control in this shell\n")
command("fg without job control is an error", "sleep 0.01 & fg", err="bash: line 1: fg: no job control\n", status=1)
command("fg with job control waits for the job", "set -m; sh -c 'sleep 0.3; exit 7' & fg; echo $?", out="sh -c 'sleep 0.3; exit 7'\n7\n")
command("A coproc is written to and read from", "coproc cat; echo hello >&${COPROC[1]}; read a <&${COPROC[0]}; echo $a; exec {COPROC[1]}>&-; wait", out="hello\n")
command("A named coproc has its pid", "coproc C { read x; echo got $x; }; echo in >&${C[1]}; read a <&${C[0]}; echo $a; wait $C_PID; echo $?", out="got in\n0\n")
command("Process substitution reads", "cat <(echo a) <(echo b); diff <(echo x) <(echo x) && echo same", out="a\nb\nsame\n")
command("Process substitution writes", "echo text > >(sed s/t/T/g); wait $!; true", out="TexT\n")
command("Process substitution's names are descriptors", "echo <(:) | sed s/[0-9]*$/N/", out="/dev/fd/N\n")
command("A pipeline of fifty parts works", "echo 0" + " | { read n; echo $((n + 1)); }" * 50, out="50\n")
command("A pipeline's last part in the shell with lastpipe", "shopt -s lastpipe; echo a | read x; echo $x", out="a\n")
command("|& sends both outputs", "sh -c 'echo o; echo e >&2' |& sort", out="e\no\n")
command("A subshell's variables are its own", "x=1; (x=2; echo $x $BASH_SUBSHELL); echo $x", out="2 1\n1\n")
command("A hundred children one after the other leave no zombie", "for ((i = 0; i < 100; i++)); do (exit 0); done; ps -o stat= --ppid $$ | grep -c Z", out="0\n", status=1)
command("A hundred children at once are all waited for", "for ((i = 0; i < 100; i++)); do (exit $((i % 7))) & p+=($!); done; n=0; for q in ${p[@]}; do wait $q; ((n += $?)); done; echo $n",
        out="295\n")
command("$! is the last background command's pid", "sleep 100 & kill -0 $! && echo alive; kill $!", out="alive\n")
command("$$ in a subshell stays the shell's, BASHPID does not", "(echo $(($$ == BASHPID))); echo $(($$ == BASHPID))", out="0\n1\n")
command("times prints four times", "times | sed 's/[0-9]\\+/N/g'", out="NmN.Ns NmN.Ns\nNmN.Ns NmN.Ns\n")
command("time reports to stderr in its format", "TIMEFORMAT='%0lR'; time true", err="0m0s\n")
command("time -p has its format", "{ time -p true; } 2>&1 | sed 's/[0-9.]\\+/N/'", out="real N\nuser N\nsys N\n")
command("SECONDS counts from the shell's start", "echo $((SECONDS < 5)); SECONDS=100; echo $((SECONDS >= 100))", out="1\n1\n")
command("A loop in the background goes on while the shell does", "{ for i in 1 2 3; do echo $i; done; } >f & wait; cat f", out="1\n2\n3\n")
command("Background output and a trap of EXIT keep their order with wait", "trap 'echo bye' EXIT; { echo bg; } & wait", out="bg\nbye\n")


def _survivor(stage, start):
    """Starts something that outlives the shell and is told to end by a FIFO."""
    stage.fifo("gate")
    shell = stage.start("-c", start)
    pid = int(shell.read_line())
    status = shell.wait()
    lives = alive(pid)
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")
    said = shell.reached_eof(shell.stdout)
    stage.note(status=status, lives=lives, said=said)


# /bin/sh and not sh where pids matter: agentsh as `sh` would be one more process (table A).
SURVIVOR = "/bin/sh -c 'echo $$; read a <gate; echo survived'"


@scene("A background command survives the shell", status="exit 3", lives=True, said=b"survived\n")
def _background(stage):
    _survivor(stage, f"{SURVIVOR} & while [ ! -s up ]; do : >>up; echo >>up; done; exit 3")


@scene("A background command under nohup survives the shell", status="exit 0", lives=True, said=b"survived\n")
def _nohup(stage):
    _survivor(stage, f"nohup {SURVIVOR} & exit 0")


@scene("A background command under setsid survives the shell", status="exit 0", lives=True, said=b"survived\n")
def _setsid(stage):
    _survivor(stage, f"setsid {SURVIVOR} & exit 0")


@scene("A command started with setsid -f survives the shell", status="exit 0", lives=True, said=b"survived\n")
def _setsid_fork(stage):
    _survivor(stage, f"setsid -f {SURVIVOR}")


@scene("A disowned command survives the shell", status="exit 0", lives=True, said=b"survived\n")
def _disowned(stage):
    _survivor(stage, f"{SURVIVOR} & disown; exit 0")


@scene("A double-forked daemon survives the shell", status="exit 0", lives=True, said=b"survived\n")
def _daemon(stage):
    _survivor(stage, f"(setsid {SURVIVOR} &) ; exit 0")


@scene("A child of a job-control shell survives it", status="exit 0", lives=True, said=b"survived\n")
def _job_control(stage):
    _survivor(stage, f"set -m; {SURVIVOR} & exit 0")


@scene("A survivor under setsid outlives a kill of the group", status="killed by SIGKILL", lives=True)
def _outlives_kill(stage):
    shell = stage.start("-c", "setsid /bin/sh -c 'echo $$; exec sleep 100' & wait; sleep 100", before=lambda _: os.setpgid(0, 0))
    pid = int(shell.read_line())
    shell.kill_group(signal.SIGKILL)
    status = shell.wait()
    stage.note(status=status, lives=alive(pid))
    os.kill(pid, signal.SIGKILL)


@scene("An orphan goes to the caller's subreaper, as it would with bash", ours=True)
def _orphan(stage):
    stage.fifo("gate")
    shell = stage.start("-c", "/bin/sh -c 'echo $$; read a <gate' & exit 0")
    pid = int(shell.read_line())
    shell.wait()
    stage.until(lambda: pid in children_of(os.getpid()), "the orphan is given to this process")
    with open("gate", "w", encoding="ascii") as gate:
        gate.write("go\n")
    stage.note(ours=os.waitpid(pid, 0)[0] == pid)


@scene("An orphan of a running command goes to the caller's subreaper and not to the shell", ours=True)
def _orphan_meanwhile(stage):
    shell = stage.start("-c", "(/bin/sh -c 'echo $$; exec sleep 100' &) ; read a", stdin=PIPE)
    pid = int(shell.read_line())
    stage.until(lambda: pid in children_of(os.getpid()), "the orphan is given to this process")
    os.kill(pid, signal.SIGKILL)
    stage.note(ours=os.waitpid(pid, 0)[0] == pid)
    shell.finish(b"\n")


@scene("The times that a command took are its caller's to see", enough=True)
def _usage(stage):
    shell = stage.start("-c", "perl -e 'for ($i = 0; $i < 3e5; $i++) {} print +(times)[0]'; true")
    done = shell.finish()
    stage.note(enough=shell.usage.ru_utime >= float(done.out) - 0.02)


@scene("The peak memory that a command took is its caller's to see", enough=True)
def _peak(stage):
    shell = stage.start("-c", "perl -e '$x = q(x) x (64 << 20)'; true")
    shell.finish()
    stage.note(enough=shell.usage.ru_maxrss >= 64 << 10)


@scene("The call has ended when its shell has, though children live on", status="exit 2", running=False)
def _ends_at_once(stage):
    shell = stage.start("-c", "sleep 100 >/dev/null 2>&1 & echo $!; exit 2")
    pid = int(shell.read_line())
    status = shell.wait()
    stage.note(status=status, running=shell.running())
    os.kill(pid, signal.SIGKILL)
