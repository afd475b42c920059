"""The forms bash can be called in: names, options, operands."""

from suite.case import call, command, scene
from suite.shell import real_answer

ECHO = 'echo "$0|$-|$#|$*"'

command("With -c, $0 is argv[0]", ECHO, out="bash|hBc|0|\n")
command("With -c, the first operand is $0 and the rest are the parameters", ECHO, "name", "a b", "", "c", out="name|hBc|3|a b  c\n")
call("An argv[0] that is a path is $0 as given", "-c", ECHO, argv0="/odd/place/bash", out="/odd/place/bash|hBc|0|\n")
call("An argv[0] of any other name works, and is in error messages", "-c", "nope-nope", argv0="zork", err="zork: line 1: nope-nope: command not found\n", status=127)
call("An empty argv[0] is $0", "-c", ECHO, argv0="", out="|hBc|0|\n")
call("An argv[0] with a space and a newline is kept", "-c", ECHO, argv0="a b\nc", out="a b\nc|hBc|0|\n")
call("An argv[0] of non-UTF-8 bytes is kept", "-c", ECHO, argv0=b"b\xff\xfesh", out=b"b\xff\xfesh|hBc|0|\n")
call("An argv[0] of 4,000 bytes is kept", "-c", ECHO, argv0="b" * 4000, out="b" * 4000 + "|hBc|0|\n")
call("An argv[0] that begins with a dash makes a login shell", "-c", f"{ECHO}; shopt login_shell", argv0="-bash",
     out="-bash|hBc|0|\nlogin_shell    \ton\n", env={"HOME": "/nonexistent"})
call("An argv[0] of - makes a login shell", "--noprofile", "-c", "shopt login_shell; echo $0", argv0="-", out="login_shell    \ton\n-\n")
call("An argv[0] of rbash makes a restricted shell", "-c", "shopt restricted_shell; cd /; echo $?; /bin/true", argv0="rbash",
     out="restricted_shell\ton\n1\n", status=1,
     err="rbash: line 1: cd: restricted\nrbash: line 1: /bin/true: restricted: cannot specify `/' in command names\n")
call("An argv[0] of /usr/bin/rbash makes a restricted shell", "-c", "echo >file", argv0="/usr/bin/rbash",
     err="/usr/bin/rbash: line 1: file: restricted: cannot redirect output\n", status=1)
call("-r makes a restricted shell", "-r", "-c", "PATH=/x", err="bash: line 1: PATH: readonly variable\n", status=1)
call("An argv[0] of sh makes POSIX mode", "-c", "shopt -o posix; echo $0 $-", argv0="sh", out="posix          \ton\nsh hBc\n")
call("In sh, a function's name may not be that of a special builtin", "-c", "set() { :; }; echo on", argv0="sh", status=2,
     err="sh: line 1: `set': is a special builtin\n")
call("In sh, an assignment before a special builtin stays", "-c", "A=1 :; echo $A", argv0="sh", out="1\n")
call("In sh, a failing special builtin ends the shell", "-c", ". ./none; echo on", argv0="sh", status=1, err="sh: line 1: ./none: No such file or directory\n")
call("An argv[0] of -sh makes a POSIX login shell", "-c", "shopt -o posix; shopt login_shell", argv0="-sh", env={"HOME": "/nonexistent"},
     out="posix          \ton\nlogin_shell    \ton\n")

call("-lc is a login shell with a command", "-lc", ECHO + "; shopt login_shell", out="bash|hBc|0|\nlogin_shell    \ton\n")
call("-c -l is a login shell with a command", "-c", "-l", ECHO, "n", "x", out="n|hBc|1|x\n")
call("-l -c is a login shell with a command", "-l", "-c", ECHO, out="bash|hBc|0|\n")
call("-cl is a login shell with a command", "-cl", ECHO, out="bash|hBc|0|\n")
call("--login -c is a login shell with a command", "--login", "-c", "shopt login_shell", out="login_shell    \ton\n")
call("-ec sets errexit", "-ec", ECHO + "; false; echo on", out="bash|ehBc|0|\n", status=1)
call("-ce sets errexit", "-ce", ECHO + "; false; echo on", out="bash|ehBc|0|\n", status=1)
call("-e -c sets errexit", "-e", "-c", "false; echo on", status=1)
call("-c -e sets errexit", "-c", "-e", "false; echo on", status=1)
call("-xc traces", "-xc", "echo a  b; X=1", out="a b\n", err="+ echo a b\n+ X=1\n")
call("-c -x traces", "-c", "-x", "echo a", out="a\n", err="+ echo a\n")
call("-vc repeats its input", "-vc", "echo a\necho b", out="a\nb\n", err="echo a\necho b\n")
call("+e leaves errexit off", "+e", "-c", "false; echo $-", out="hBc\n")
call("+B switches brace expansion off", "+B", "-c", "echo {a,b} $-", out="{a,b} hc\n")
call("-c after +x keeps tracing off", "+x", "-c", "echo a", out="a\n")
call("-uc makes an unset parameter an error", "-uc", "echo $nothing", err="bash: line 1: nothing: unbound variable\n", status=127)
call("-fc switches globbing off", "-fc", "echo /*", out="/*\n")
call("-ac exports what is assigned", "-ac", "NEW=1; env | grep ^NEW", out="NEW=1\n")
call("-nc reads without executing", "-nc", "echo a")
call("-n with -c reports a syntax error", "-n", "-c", "if", status=2, err="bash: -c: line 2: syntax error: unexpected end of file\n")
call("-tc runs the whole command", "-tc", "echo a $-\necho b", out="a htBc\nb\n")
call("-kc takes assignments anywhere", "-kc", "env A=1 | grep ^A=", out="A=1\n")
call("-Cc keeps files from being overwritten", "-Cc", ": >f; echo x >f", err="bash: line 1: f: cannot overwrite existing file\n", status=1)
call("-pc is privileged", "-pc", "echo $-", out="hpBc\n")
call("-Tc and -Ec let functions inherit traps", "-TEc", "echo $-; trap 'echo err' ERR; f() { false; }; f", out="hBETc\nerr\nerr\n", status=1)
call("-hc and +hc: hashing", "+hc", "echo $-; hash", out="Bc\n", err="bash: line 1: hash: hashing disabled\n", status=1)
call("--norc -c", "--norc", "-c", ECHO, out="bash|hBc|0|\n")
call("--noprofile --norc -c", "--noprofile", "--norc", "-c", ECHO, "z", out="z|hBc|0|\n")
call("--rcfile takes an argument", "--rcfile", "/none", "-c", ECHO, out="bash|hBc|0|\n")
call("--init-file takes an argument", "--init-file", "/none", "-c", ECHO, out="bash|hBc|0|\n")
call("A long option with one dash is taken too", "-norc", "-c", ECHO, out="bash|hBc|0|\n")
call("--posix -c", "--posix", "-c", "shopt -o posix", out="posix          \ton\n")
call("--restricted -c", "--restricted", "-c", "cd /", err="bash: line 1: cd: restricted\n", status=1)
call("--verbose -c", "--verbose", "-c", "echo a", out="a\n", err="echo a\n")
call("--noediting -c", "--noediting", "-c", "echo a", out="a\n")
call("-o pipefail -c", "-o", "pipefail", "-c", "false | true; echo $?", out="1\n")
call("-c -o pipefail", "-c", "-o", "pipefail", "false | true; echo $?", out="1\n")
call("-eo pipefail -c", "-eo", "pipefail", "-c", "false | true; echo on", status=1)
call("-euo pipefail -c", "-euo", "pipefail", "-c", "echo $-; shopt -o pipefail", out="ehuBc\npipefail       \ton\n")
call("-ceuo pipefail takes its argument before the command", "-ceuo", "pipefail", "echo $-", out="ehuBc\n")
call("+o braceexpand -c", "+o", "braceexpand", "-c", "echo {a,b}", out="{a,b}\n")
call("-O extglob -c", "-O", "extglob", "-c", "touch a b; echo !(a)", out="b\n")
call("-c -O extglob", "-c", "-O", "extglob", "touch a b; echo !(a)", out="b\n")
call("+O sourcepath -c", "+O", "sourcepath", "-c", "shopt sourcepath", out="sourcepath     \toff\n", status=1)
call("-O and -o one after the other", "-O", "extglob", "-o", "pipefail", "-c", "shopt extglob; shopt -o pipefail", out="extglob        \ton\npipefail       \ton\n")
call("-- after -c ends the options", "-c", "--", ECHO, "n", "-x", out="n|hBc|1|-x\n")
call("- after -c ends the options", "-c", "-", ECHO, "n", out="n|hBc|0|\n")
call("A command that begins with a dash needs --", "-c", "--", "-x-y; true", err="bash: line 1: -x-y: command not found\n")
call("-cc is -c", "-cc", ECHO, out="bash|hBc|0|\n")
call("-sc: the command wins", "-sc", ECHO, "a", out="a|hBcs|0|\n", input=b"echo from input\n")
call("A second -c is an option like the first", "-c", "-c", ECHO, out="bash|hBc|0|\n")

call("-c without an argument is an error", "-c", err="bash: -c: option requires an argument\n", status=2)
call("-c with only -- after it is an error", "-c", "--", err="bash: -c: option requires an argument\n", status=2)
call("-c with options but no command is an error", "-c", "-x", err="bash: -c: option requires an argument\n", status=2)
call("-c with -e but no command exits 1", "-c", "-e", "-x", err="bash: -c: option requires an argument\n", status=1)
command("An empty command does nothing", "")
command("A command of blanks does nothing", " \t\n\n ")
command("A command that is a comment does nothing", "# nothing")
command("A command may end in a newline", "echo a\n", out="a\n")
command("A command may have carriage returns in it", "echo a\r\n", out="a\r\n")


def same_as_real(name: str, *args: str) -> None:
    """A case whose text belongs to the release of bash: real bash is asked for it."""
    out, err, status = real_answer(*args)
    call(name, *args, out=out, err=err, status=status)


same_as_real("--version prints what bash prints", "--version")
same_as_real("--help prints what bash prints", "--help")
same_as_real("--version wins over a command", "--version", "-c", "echo on")
same_as_real("An unknown long option prints the usage", "--no-such-option")
same_as_real("An unknown short option prints the usage", "-Z")
same_as_real("An unknown short option beside c prints the usage", "-cZ", "echo on")
same_as_real("An unknown option after -c prints the usage", "-c", "-Z", "echo on")
same_as_real("-o with an unknown name is an error", "-o", "no-such-option", "-c", "echo on")
same_as_real("-O with an unknown name is an error", "-O", "no-such-option", "-c", "echo on")
same_as_real("-o alone lists the options", "-o")
same_as_real("+o alone lists the options as commands", "+o")
same_as_real("-O alone lists the shell options", "-O")
same_as_real("--rcfile without an argument is an error", "--rcfile")
same_as_real("-D prints the strings to translate", "-D", "-c", 'echo $"hello"')
same_as_real("--dump-po-strings prints them as a catalogue", "--dump-po-strings", "-c", 'echo $"hello"')
same_as_real("--debugger is taken", "--debugger", "-c", "shopt extdebug")
same_as_real("A long option is not taken after a short one", "-e", "--norc", "-c", "echo on")
same_as_real("--wordexp is answered as bash does", "--wordexp", "-c", "echo a")
same_as_real("--pretty-print prints a command as bash would write it", "--pretty-print", "-c", "if true;then echo a;fi")

call("A script that is missing exits 127", "./none", err="bash: ./none: No such file or directory\n", status=127)
call("A folder as a script exits 126", "/", err="/: /: Is a directory\n", status=126)
call("A binary as a script exits 126", "/bin/true", err="/bin/true: /bin/true: cannot execute binary file\n", status=126)


@scene("An empty argv is what bash makes of it", status="exit 0", stdout=b"in:\n", stderr=b"")
def _empty_argv(stage):
    stage.note_outcome(stage.run(argv0=None, input=b'echo "in:$0"\n'))
