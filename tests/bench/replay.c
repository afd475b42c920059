// Replays a memory trace as AgentCgroup's trace_replay.py does, with a C program's own pages.
//   replay TRACE SPEED BASE UNIT FROM TO START RESULT
// TRACE: a CSV of t_s,mem_mb,… of which the seconds FROM to TO are replayed, SPEED times as fast. BASE bytes are taken at
// once, and stay: what the agent itself has. UNIT: bytes for each MB of the trace. START: when to begin, in ns of
// CLOCK_MONOTONIC; 0 is now, and then whatever is late delays all that comes behind it, as in a program that has work to do.
// For every sample that asks for more than it has, it takes the difference in pieces of 64 MiB at most and writes to every
// page; for less, it gives whole pieces back, the last first, until it has no more than that.
// RESULT is written at the end, and by whoever lived to see it only: `SECONDS PEAK-BYTES`, then a line with the
// milliseconds of each step that took memory.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PIECE (64UL << 20)
#define PAGE 4096UL
#define MOST_PIECES 4096
#define MOST_STEPS 4096

struct piece {
	char *at;
	size_t bytes;
};

static struct piece pieces[MOST_PIECES];
static int held_pieces;
static size_t held, peak;

static void fail(const char *what)
{
	fprintf(stderr, "replay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void sleep_until(long when)
{
	struct timespec t = { when / 1000000000L, when % 1000000000L };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static char *take(size_t bytes)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		fail("mmap");
	for (size_t page = 0; page < bytes; page += PAGE)
		at[page] = 1;
	return at;
}

static void grow(size_t target)
{
	while (held < target) {
		size_t bytes = target - held < PIECE ? target - held : PIECE;

		if (held_pieces == MOST_PIECES)
			fail("too many pieces");
		pieces[held_pieces++] = (struct piece){ take(bytes), bytes };
		held += bytes;
	}
	if (held > peak)
		peak = held;
}

static void shrink(size_t target)
{
	while (held > target && held_pieces) {
		struct piece *last = &pieces[--held_pieces];

		munmap(last->at, last->bytes);
		held -= last->bytes;
	}
}

int main(int argc, char **argv)
{
	static double steps[MOST_STEPS];
	int count = 0;
	char line[256];
	FILE *trace, *result;
	long start, begun, due;
	int works;
	double t, mb, speed, unit, from, to;

	if (argc != 9) {
		fprintf(stderr, "usage: replay TRACE SPEED BASE UNIT FROM TO START RESULT\n");
		return 2;
	}
	trace = fopen(argv[1], "r");
	if (!trace)
		fail(argv[1]);
	speed = atof(argv[2]), unit = atof(argv[4]), from = atof(argv[5]), to = atof(argv[6]);
	start = atol(argv[7]);
	works = start == 0;
	if (works)
		start = now();
	begun = start;
	sleep_until(start);
	take(strtoul(argv[3], NULL, 10));
	while (fgets(line, sizeof(line), trace)) {
		size_t target;

		// The first line is the header.
		if (sscanf(line, "%lf,%lf", &t, &mb) != 2 || t < from || t > to)
			continue;
		due = start + (long)((t - from) / speed * 1e9);
		if (works && now() > due)
			start += now() - due;
		sleep_until(due);
		target = (size_t)(mb * unit);
		if (target > held && count < MOST_STEPS) {
			long begun = now();

			grow(target);
			steps[count++] = (now() - begun) / 1e6;
		} else {
			shrink(target);
		}
	}
	result = fopen(argv[8], "w");
	if (!result)
		fail(argv[8]);
	fprintf(result, "%.6f %zu\n", (now() - begun) / 1e9, peak + strtoul(argv[3], NULL, 10));
	for (int i = 0; i < count; i++)
		fprintf(result, "%.3f%c", steps[i], i + 1 < count ? ' ' : '\n');
	return fclose(result) ? 1 : 0;
}
