// Takes so many MiB of memory as fast as it can, and says how fast that was: `NANOSECONDS`.
//   grow MIB small|huge     in pages of 4 KiB, or in huge ones where the kernel has them
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(int argc, char **argv)
{
	size_t bytes = argc == 3 ? strtoul(argv[1], NULL, 10) << 20 : 0;
	int huge = argc == 3 && !strcmp(argv[2], "huge");
	char *memory;
	long start;

	if (!bytes) {
		fprintf(stderr, "usage: grow MIB small|huge\n");
		return 2;
	}
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("grow: mmap");
		return 1;
	}
	if (madvise(memory, bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		perror("grow: madvise");
	start = now();
	for (size_t at = 0; at < bytes; at += 4096)
		memory[at] = 1;
	printf("%ld\n", now() - start);
	return 0;
}
