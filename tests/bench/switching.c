/* SPDX-License-Identifier: GPL-2.0-only */
/* What a scheduler costs where there is nothing to decide: `switching pipe|crowd|spawn N` prints the seconds it took. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CROWD 10

static void fail(const char *what)
{
	perror(what);
	exit(2);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void pass(int from, int to, long count, int begins)
{
	char byte = 0;

	for (long n = 0; n < count; n++) {
		if (begins && write(to, &byte, 1) != 1)
			fail("write");
		if (read(from, &byte, 1) != 1)
			fail("read");
		if (!begins && write(to, &byte, 1) != 1)
			fail("write");
	}
}

/* Two processes wake each other in turn. */
static void ping_pong(long count)
{
	int there[2], back[2];

	if (pipe(there) || pipe(back))
		fail("pipe");
	if (!fork()) {
		pass(there[0], back[1], count, 0);
		_exit(0);
	}
	pass(back[0], there[1], count, 1);
}

/* As hackbench does: every one of ten senders writes to every one of ten receivers. */
static void crowd(long count)
{
	int pairs[CROWD][2];
	char message[100] = {0};

	for (int n = 0; n < CROWD; n++)
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[n]))
			fail("socketpair");
	for (int n = 0; n < CROWD; n++) {
		if (!fork()) {
			size_t left = sizeof(message) * CROWD * count;

			while (left) {
				ssize_t got = read(pairs[n][0], message, sizeof(message));

				if (got <= 0)
					fail("read");
				left -= got;
			}
			_exit(0);
		}
		if (!fork()) {
			for (long round = 0; round < count; round++)
				for (int to = 0; to < CROWD; to++)
					if (write(pairs[to][1], message, sizeof(message)) != sizeof(message))
						fail("write");
			_exit(0);
		}
	}
}

static void spawn(long count)
{
	for (long n = 0; n < count; n++) {
		int status;
		pid_t child = fork();

		if (!child) {
			execl("/proc/self/exe", "switching", "none", "0", (char *)0);
			_exit(127);
		}
		if (child < 0 || waitpid(child, &status, 0) < 0 || status)
			fail("a child");
	}
}

int main(int argc, char **argv)
{
	long count = argc == 3 ? atol(argv[2]) : -1;
	double began = now();
	int status;

	if (count < 0)
		return 2;
	if (!strcmp(argv[1], "none"))
		return 0;
	if (!strcmp(argv[1], "pipe"))
		ping_pong(count);
	else if (!strcmp(argv[1], "crowd"))
		crowd(count);
	else if (!strcmp(argv[1], "spawn"))
		spawn(count);
	else
		return 2;
	while (wait(&status) > 0)
		if (status)
			return 2;
	printf("%.6f\n", now() - began);
	return 0;
}
