// Plays calls of /bin/sh, several side by side, and does next to nothing itself: what is under test is what takes the time.
//   calls CALLERS LIST [times]
// LIST has a command a line, `EVERY STATUS COMMAND`. Those with EVERY 0 come in turn; one with another EVERY comes instead of
// them in each so-manieth call, the rarest first. stdin says how many calls to play, a number a line; when they have
// ended, CALLERS at a time, comes `done WRONG`: how many ended otherwise than by STATUS, as shells have it. Those are named on
// stderr. With `times` each call's `call NANOSECONDS` comes before that. What calls leave behind is ours to reap: the first
// process of a container that only sleeps doesn't, and would let them pile up.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COMMANDS = 64, CALLERS = 64 };

struct command {
	long every;
	int status;
	char *text;
};

struct call {
	pid_t pid;
	long begun;
	const struct command *command;
};

static struct command seldom[COMMANDS], ordinary[COMMANDS];
static int seldoms, ordinaries, null;
static struct call calls[CALLERS];

static void fail(const char *what)
{
	fprintf(stderr, "calls: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void read_list(const char *path)
{
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;

	if (file == NULL)
		fail(path);
	while (getline(&line, &size, file) > 0) {
		struct command command;
		int at = 0;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%ld %d %n", &command.every, &command.status, &at) != 2 || at == 0)
			fail("a line of the list");
		command.text = strdup(line + at);
		if (seldoms == COMMANDS || ordinaries == COMMANDS)
			fail("too many commands");
		if (command.every > 0)
			seldom[seldoms++] = command;
		else
			ordinary[ordinaries++] = command;
	}
	if (ordinaries == 0)
		fail("no command in the list");
}

static const struct command *chosen(long number)
{
	const struct command *best = NULL;

	for (int i = 0; i < seldoms; i++)
		if (number % seldom[i].every == 0 && (best == NULL || seldom[i].every > best->every))
			best = &seldom[i];
	return best != NULL ? best : &ordinary[number % ordinaries];
}

static void start(struct call *call, const struct command *command)
{
	char *argv[] = { "sh", "-c", command->text, NULL };

	call->command = command;
	call->begun = now();
	call->pid = vfork();
	if (call->pid == 0) {
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		execve("/bin/sh", argv, environ);
		_exit(126);
	}
	if (call->pid < 0)
		fail("vfork");
}

// Waits for the end of a call; did it end as it should?
static int finish(int tell_times)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, 0);

		if (pid < 0)
			fail("waitpid");
		status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		for (int i = 0; i < CALLERS; i++) {
			struct call *call = &calls[i];

			if (call->pid != pid)
				continue;
			call->pid = 0;
			if (tell_times)
				printf("call %ld\n", now() - call->begun);
			if (status == call->command->status)
				return 1;
			fprintf(stderr, "wrong: %d instead of %d: %s\n", status, call->command->status, call->command->text);
			return 0;
		}
	}
}

int main(int argc, char **argv)
{
	int callers = argc >= 3 ? atoi(argv[1]) : 0;
	int tell_times = argc == 4 && strcmp(argv[3], "times") == 0;
	char line[64];
	long number = 0;

	if (callers < 1 || callers > CALLERS) {
		fprintf(stderr, "usage: calls CALLERS LIST [times]\n");
		return 2;
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		fail("/dev/null");
	read_list(argv[2]);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
		fail("PR_SET_CHILD_SUBREAPER");
	while (fgets(line, sizeof(line), stdin) != NULL) {
		long left = atol(line), wrong = 0;
		int running = 0;

		while (left > 0 || running > 0) {
			for (int i = 0; i < callers && left > 0; i++) {
				if (calls[i].pid != 0)
					continue;
				start(&calls[i], chosen(++number));
				left--;
				running++;
			}
			wrong += !finish(tell_times);
			running--;
		}
		printf("done %ld\n", wrong);
		fflush(stdout);
	}
	return 0;
}
