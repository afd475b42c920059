/*
 * A program that takes memory at a given speed, keeps it for a while, and looks whether it is all there.
 *
 *   hog WORD MIB MIB_PER_S [FILE [PROCESSES [busy]]]
 *
 * Each of the processes takes its share of the MiB, and keeps it until there is such a file, asleep or busy. Prints `WORD whole` at the end, exit status 0; 1 if a page has
 * changed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1UL << 20)

static void until(struct timespec *time, double seconds)
{
	long ns = time->tv_nsec + (long)(seconds * 1e9);

	time->tv_sec += ns / 1000000000;
	time->tv_nsec = ns % 1000000000;
	/* Whoever was held up doesn't catch up. */
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec > time->tv_sec || (now.tv_sec == time->tv_sec && now.tv_nsec > time->tv_nsec))
		*time = now;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, time, NULL))
		;
}

static int take(unsigned long mib, double rate, const char *file, int busy)
{
	char *memory = malloc(mib * MIB);
	struct timespec time;

	if (!memory)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &time);
	for (unsigned long n = 0; n < mib; n++) {
		for (unsigned long at = n * MIB; at < (n + 1) * MIB; at += 4096)
			memory[at] = (char)(at / 4096 % 251 + 1);
		until(&time, 1 / rate);
	}
	while (file && access(file, F_OK))
		if (!busy)
			until(&time, 0.1);
	for (unsigned long at = 0; at < mib * MIB; at += 4096)
		if (memory[at] != (char)(at / 4096 % 251 + 1))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	int processes = argc > 5 ? atoi(argv[5]) : 1, busy = argc > 6, bad, status;

	if (argc < 4) {
		fprintf(stderr, "usage: hog WORD MIB MIB_PER_S [FILE [PROCESSES [busy]]]\n");
		return 2;
	}
	unsigned long mib = strtoul(argv[2], NULL, 10) / processes;
	double rate = atof(argv[3]) / processes;
	const char *file = argc > 4 ? argv[4] : NULL;
	for (int i = 1; i < processes; i++)
		if (!fork())
			return take(mib, rate, file, busy);
	bad = take(mib, rate, file, busy);
	while (wait(&status) > 0)
		bad |= status;
	if (!bad)
		printf("%s whole\n", argv[1]);
	return bad != 0;
}
