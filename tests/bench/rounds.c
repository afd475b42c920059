// Runs commands in turn and prints how long each took: one line a run, `ARM NANOSECONDS`.
//   rounds N ARMS     ARMS: a file with a line per arm, tab-separated: NAME CGROUP(or -) PROGRAM ARGV0 [ARG...]
// Every round runs every arm once, in an order of its own, so that what else the machine does hits all alike.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ARMS = 32, WORDS = 32 };

struct arm {
	char *name, *program, *argv[WORDS];
	int cgroup;
};

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static long run(const struct arm *arm, char **envp)
{
	struct clone_args args = { .flags = CLONE_VFORK, .exit_signal = SIGCHLD };
	long start = now(), pid;
	int status;

	if (arm->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = arm->cgroup;
	}
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		execve(arm->program, arm->argv, envp);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "rounds: %s failed (pid %ld, status %x)\n", arm->name, pid, status);
		exit(1);
	}
	return now() - start;
}

int main(int argc, char **argv, char **envp)
{
	struct arm arms[ARMS] = { 0 };
	char *line = NULL;
	size_t size = 0;
	int n = 0;
	FILE *file = argc == 3 ? fopen(argv[2], "r") : NULL;

	if (file == NULL) {
		fprintf(stderr, "usage: rounds N ARMS\n");
		return 2;
	}
	while (n < ARMS && getline(&line, &size, file) > 0) {
		char *rest = line, *cgroup;
		int word = 0;

		line[strcspn(line, "\n")] = 0;
		arms[n].name = strsep(&rest, "\t");
		cgroup = strsep(&rest, "\t");
		arms[n].program = strsep(&rest, "\t");
		while (rest != NULL && word < WORDS - 1)
			arms[n].argv[word++] = strsep(&rest, "\t");
		arms[n].cgroup = strcmp(cgroup, "-") ? open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
		line = NULL;
		n++;
	}
	for (int round = 0; round < atoi(argv[1]); round++) {
		int order[ARMS];

		for (int i = 0; i < n; i++) {
			int j = rand() % (i + 1);

			order[i] = order[j];
			order[j] = i;
		}
		for (int i = 0; i < n; i++)
			printf("%s %ld\n", arms[order[i]].name, run(&arms[order[i]], envp));
	}
	return 0;
}
