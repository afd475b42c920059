/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How long a session that isn't the most important waits for memory: a pure function, which
 * tests/integration/delay.c compiles for the machine itself. Amounts are pages.
 */
#pragma once

/* The kernel takes what is shorter for no delay at all. */
#define DELAY_LEAST_MS 11

struct squeeze {
	/* What the session has, and what would be its part of the pool. */
	u64 usage;
	u64 share;
	/* What the pool has left, and what those that go first may still take of it. */
	u64 room;
	u64 need;
	/* What creeps in while everybody is being slowed. */
	u64 cushion;
	u32 most_ms;
};

/*
 * None while there is room for all that those who go first may still take. From there it grows with the
 * square of what is missing, so that it begins gently; a session within its share waits a quarter as long as
 * one that has twice its share or more.
 */
static inline u32 delay_ms(const struct squeeze *it)
{
	u64 reach = it->need + it->cushion, missing, overrun = 0, ms;

	if (!it->need || it->room >= reach)
		return 0;
	missing = ((reach - it->room) << 10) / reach;
	if (it->usage > it->share)
		overrun = ((it->usage - it->share) << 10) / (it->share ? it->share : 1);
	if (overrun > 1024)
		overrun = 1024;
	ms = (it->most_ms * missing * missing) >> 20;
	ms = (ms * (256 + ((overrun * 3) >> 2))) >> 10;
	return ms < DELAY_LEAST_MS ? 0 : ms;
}
