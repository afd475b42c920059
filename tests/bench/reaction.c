/*
 * A call for tests/bench/reaction, without a launcher: what is measured is the kernel's part alone.
 *
 *   reaction CGROUP MIB PROCESSES [FILE]
 *
 * Starts itself in the cgroup as its only call; there each of the processes takes its share of the MiB as fast as it can, and
 * computes on until it is killed. With a file: makes it once everything is taken.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1UL << 20)

static void take(unsigned long bytes)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		_exit(1);
	/* By small pages, as most programs take it. */
	madvise(memory, bytes, MADV_NOHUGEPAGE);
	for (unsigned long at = 0; at < bytes; at += 4096)
		memory[at] = 1;
}

int main(int argc, char **argv)
{
	struct clone_args args = { .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD };
	long pid;

	if (argc < 4) {
		fprintf(stderr, "usage: reaction CGROUP MIB PROCESSES [FILE]\n");
		return 2;
	}
	args.cgroup = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0) {
		perror(argv[1]);
		return 1;
	}
	if (pid > 0)
		return waitpid(pid, NULL, 0) == pid ? 0 : 1;
	int processes = atoi(argv[3]);

	for (int i = 1; i < processes; i++)
		if (!fork())
			break;
	take(strtoul(argv[2], NULL, 10) * MIB / processes);
	if (argc > 4)
		close(open(argv[4], O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	for (;;)
		__asm__ volatile("" ::: "memory");
}
