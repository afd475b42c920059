// The least that anybody must do who gives a command a cgroup of its own: make it, set two knobs, start the command in
// it, wait, remove it. What agentsh costs on top of this is agentsh's own.
//   floor LEAF KNOB VALUE KNOB VALUE PROGRAM ARGV0 [ARG...]
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void put(int dir, const char *knob, const char *value)
{
	int fd = openat(dir, knob, O_WRONLY | O_CLOEXEC);

	// On a tree without controllers the knobs are missing; the attempt is what it costs there.
	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0)
		perror(knob);
	close(fd);
}

int main(int argc, char **argv, char **envp)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP | CLONE_VFORK, .exit_signal = SIGCHLD };
	int status, dir;
	long pid;

	if (argc < 8 || mkdir(argv[1], 0755) != 0) {
		perror("floor: mkdir");
		return 125;
	}
	dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put(dir, argv[2], argv[3]);
	put(dir, argv[4], argv[5]);
	args.cgroup = dir;
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		execve(argv[6], argv + 7, envp);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("floor: clone3");
		return 125;
	}
	if (rmdir(argv[1]) != 0)
		perror("floor: rmdir");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
