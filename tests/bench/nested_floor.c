// The least that a program in the shell's place can do: become the shell.
//   nested_floor PROGRAM ARGV0 [ARG...]     or, called as bash: becomes /bin/bash with its own arguments
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv, char **envp)
{
	size_t len = strlen(argv[0]);

	if (len >= 4 && strcmp(argv[0] + len - 4, "bash") == 0)
		execve("/bin/bash", argv, envp);
	else if (argc > 2)
		execve(argv[1], argv + 2, envp);
	return 127;
}
