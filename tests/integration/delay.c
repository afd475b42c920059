/* SPDX-License-Identifier: GPL-2.0-only */
/* The delay function of bpf/delay.h, compiled for this machine: a line of its six numbers in, the delay out. */
#include <stdio.h>

typedef unsigned int u32;
typedef unsigned long long u64;
#include "../../bpf/delay.h"

int main(void)
{
	struct squeeze it;

	while (scanf("%llu %llu %llu %llu %llu %u", &it.usage, &it.share, &it.room, &it.need, &it.cushion,
		     &it.most_ms) == 6)
		printf("%u\n", delay_ms(&it));
	return 0;
}
