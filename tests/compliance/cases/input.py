"""Scripts by file, by #! and by standard input; what is read of it and what is left."""

import os

from suite.case import call, command, scene
from suite.stage import PIPE

call("A script file gets its name as $0 and its arguments", "./s", "a b", "c", files={"s": 'echo "$0|$#|$*|$-"\n'}, out="./s|2|a b c|hB\n")
call("A script's exit status is the caller's", "./s", files={"s": "exit 5\n"}, status=5)
call("A script's errors name it and the line", "./s", files={"s": "true\n\nnope-nope\n"}, err="./s: line 3: nope-nope: command not found\n", status=127)
call("A script's syntax error names it and the line", "./s", files={"s": "echo a\nfi\n"}, out="a\n", status=2,
     err="./s: line 2: syntax error near unexpected token `fi'\n./s: line 2: `fi'\n")
call("A script without its last newline runs whole", "./s", files={"s": "echo a\necho b"}, out="a\nb\n")
call("An empty script does nothing", "./s", files={"s": ""})
call("A script with non-UTF-8 bytes runs", "./s", files={"s": b"printf '\xff\xfe\\n'\n"}, out=b"\xff\xfe\n")
call("A script is looked for in PATH when it isn't here", "s", "x", before=lambda stage: (os.mkdir("d"), stage.file("d/s", "echo $0 $1\n")),
     env={"PATH": "d:/usr/bin:/bin"}, out="s x\n")
call("Options before a script apply to it", "-e", "-o", "pipefail", "./s", files={"s": "echo $-\nfalse | true\necho on\n"}, out="ehB\n", status=1)
call("-- before a script ends the options", "--", "./s", "-x", files={"s": "echo $1\n"}, out="-x\n")
call("- before a script ends the options", "-", "./s", "-x", files={"s": "echo $1\n"}, out="-x\n")
call("-x traces a script", "-x", "./s", files={"s": "echo a\n"}, out="a\n", err="+ echo a\n")
call("A script may read its caller's standard input", "./s", files={"s": "read a; echo got $a; cat\n"}, input=b"one\ntwo\nthree\n", out="got one\ntwo\nthree\n")
call("A script killed by a signal is seen to be", "./s", files={"s": "kill -TERM $$\n"}, status="killed by SIGTERM")
call("A script by /dev/fd runs", "/dev/fd/0", input=b'echo "$0"\n', out="/dev/fd/0\n")
call("A script by /dev/stdin runs", "/dev/stdin", "a", input=b'echo "$1"\n', out="a\n")

call("Commands on standard input run", input=b"echo a\necho $0 $-\n", out="a\nbash hBs\n")
call("-s takes operands as parameters", "-s", "a", "b", input=b'echo "$0|$#|$*|$-"\n', out="bash|2|a b|hBs\n")
call("-s -- takes operands that begin with a dash", "-s", "--", "-x", input=b'echo "$1"\n', out="-x\n")
call("-es sets errexit for standard input", "-es", input=b"false\necho on\n", status=1)
call("- alone reads standard input", "-", input=b"echo a $-\n", out="a hBs\n")
call("A command on standard input may read the lines after it", input=b"read a\nthis is data\necho \"got $a\"\n", out="got this is data\n")
call("A command on standard input may eat the rest", input=b"cat\nthis is data\n", out="this is data\n")
call("Standard input's exit status is the caller's", input=b"exit 3\necho on\n", status=3)
call("An error on standard input names the line", input=b"true\nnope-nope\n", err="bash: line 2: nope-nope: command not found\n", status=127)
call("A syntax error on standard input ends it with 2", input=b"echo a\n)\necho b\n", out="a\n", status=2,
     err="bash: line 2: syntax error near unexpected token `)'\nbash: line 2: `)'\n")
call("An empty standard input does nothing")
call("-n on standard input checks the syntax only", "-n", input=b"echo a\n")
call("-n on standard input reports a syntax error", "-n", input=b"echo a\nif true; do\n", status=2,
     err="bash: line 2: syntax error near unexpected token `do'\nbash: line 2: `if true; do'\n")
call("A here-document on standard input is read from it", input=b"cat <<E\na $((1+1))\nE\necho b\n", out="a 2\nb\n")


@scene("Of a file on standard input, what was not read is left for the caller", stdout=b"one\n", left=b"two\nthree\n", status="exit 0")
def _rest_of_file(stage):
    path = stage.file("lines", "one\ntwo\nthree\n")
    fd = os.open(path, os.O_RDONLY)
    done = stage.run("-c", "read a; echo $a", stdin=fd)
    stage.note(stdout=done.out, left=os.read(fd, 100), status=done.status)


@scene("Of a pipe on standard input, what was not read is left for the caller", stdout=b"one\n", left=b"two\nthree\n")
def _rest_of_pipe(stage):
    reader, writer = os.pipe()
    os.write(writer, b"one\ntwo\nthree\n")
    os.close(writer)
    done = stage.run("-c", "read a; echo $a", stdin=reader)
    stage.note(stdout=done.out, left=os.read(reader, 100))


@scene("Of a script on a seekable standard input, what follows a command that leaves is left for the caller", left=b"echo rest\n", stdout=b"a\nb\n")
def _rest_of_script(stage):
    fd = os.open(stage.file("script", "echo a\nexec echo b\necho rest\n"), os.O_RDONLY)
    stage.note(stdout=stage.run(stdin=fd).out, left=os.read(fd, 100))


@scene("A command that reads nothing leaves all of its standard input", left=b"all of it")
def _nothing_read(stage):
    reader, writer = os.pipe()
    os.write(writer, b"all of it")
    os.close(writer)
    stage.run("-c", "true; true", stdin=reader)
    stage.note(left=os.read(reader, 100))


@scene("Commands that arrive slowly on standard input run as they arrive", answers=[b"one", b"two"], status="exit 0")
def _slow_input(stage):
    shell = stage.start(stdin=PIPE)
    answers = []
    for word in (b"one", b"two"):
        shell.feed(b"echo " + word + b"\n")
        answers.append(shell.read_line())
    shell.end_input()
    stage.note(answers=answers, status=shell.finish().status)


@scene("A command in the background gets /dev/null as its standard input", stdout=b"bg:\nrest\n")
def _background_input(stage):
    stage.note(stdout=stage.run("-c", "{ echo bg:$(cat); } & wait; cat", input=b"rest\n").out)


@scene("A command in the background can read standard input when told to", stdout=b"bg:rest\n")
def _background_told(stage):
    stage.note(stdout=stage.run("-c", "{ echo bg:$(cat); } <&0 & wait", input=b"rest\n").out)


INTERPRETED = "#!@BIN@/bash\n"


@scene("A script with the shell behind #! gets its path as $0 and its arguments", stdout=b"@DIR@/work/s|2|a b c\n", stderr=b"", status="exit 4")
def _interpreter(stage):
    path = stage.file("s", INTERPRETED + 'echo "$0|$#|$*"\nexit 4\n', 0o755)
    stage.note_outcome(stage.run("a b", "c", program=path, argv0="ignored"))


@scene("A script with an option behind #! gets it", stdout=b"ehB\n", stderr=b"", status="exit 1")
def _interpreter_option(stage):
    path = stage.file("s", "#!@BIN@/bash -e\necho $-\nfalse\necho on\n", 0o755)
    stage.note_outcome(stage.run(program=path))


@scene("A script with `-c` behind #! has its own path as the command", stdout=b"", stderr=b"@DIR@/work/s\n", status="exit 0")
def _interpreter_command(stage):
    # -n and -v: the command is shown and not run, as running it would start it again for ever.
    path = stage.file("s", "#!@BIN@/bash -nvc\nthis is not read as a script\n", 0o755)
    stage.note_outcome(stage.run(program=path))


@scene("A #! script called from a command runs in the shell under test", stdout=b"in ./s x\nout 9\n", stderr=b"", status="exit 0")
def _interpreter_nested(stage):
    stage.file("s", INTERPRETED + 'echo "in $0 $1"; exit 9\n', 0o755)
    stage.note_outcome(stage.run("-c", "./s x; echo out $?"))


@scene("A #!/usr/bin/env bash script runs in the shell under test", stdout=b"@DIR@/work/s bash\n", stderr=b"", status="exit 0")
def _env_interpreter(stage):
    path = stage.file("s", "#!/usr/bin/env bash\necho $0 $(ps -o comm= -p $$)\n", 0o755)
    stage.note_outcome(stage.run("-c", f"exec -a s {path}"))


@scene("A #! script with sh behind it is in POSIX mode", stdout=b"posix          \ton\n", stderr=b"", status="exit 0")
def _sh_interpreter(stage):
    path = stage.file("s", "#!@BIN@/sh\nshopt -o posix\n", 0o755)
    stage.note_outcome(stage.run(program=path))


MEGABYTES = 10 << 20
BLOCK = bytes(range(256)) * 4096


def _sum(data: bytes) -> int:
    return sum(data) & 0xFFFFFFFF


@scene("10 MB go through standard input and output unharmed", size=MEGABYTES, same=True, status="exit 0", stderr=b"")
def _big_pipe(stage):
    data = BLOCK * (MEGABYTES // len(BLOCK))
    done = stage.run("-c", "cat; true", input=data)
    stage.note(size=len(done.out), same=done.out == data, status=done.status, stderr=done.err)


@scene("10 MB of output from a command's own loop arrive whole", size=MEGABYTES, status="exit 0")
def _big_output(stage):
    done = stage.run("-c", f"head -c {MEGABYTES} /dev/zero; true")
    stage.note(size=len(done.out), status=done.status)


@scene("A script of 2 MB on standard input runs to its end", stdout=b"done 40000\n", status="exit 0")
def _big_script(stage):
    lines = b"".join(b": %048d\n" % number for number in range(40000))
    done = stage.run(input=b"set --\n" + lines + b"echo done 40000\n")
    stage.note(stdout=done.out, status=done.status)


command("Standard input at its end is at its end for every reader", "cat; read a; echo $?; cat", stdin="null", out="1\n")
