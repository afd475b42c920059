/* SPDX-License-Identifier: GPL-2.0-only */
/* Where runnable tasks wait, in the order of their tags: the queues and their virtual times. */
#pragma once
#include "kernel.h"
#include "agentsh.h"

/* Queues: one for all CPUs, then one for each, and some for what is held, by pid: however many tasks are, one
 * look at a queue is short. */
#define SHARED	     0
#define OWN_OF(cpu)  (1 + (cpu))
#define HELD	     (1 + MAX_CPUS)
#define HELD_QUEUES  16
#define HELD_OF(pid) (HELD + ((u32)(pid) % HELD_QUEUES))

/* What comes into a queue is never so far from its time, in virtual nanoseconds, that what is at the end of
 * the queue could be taken to hang. */
#define LEAD_MOST 1000000000ULL

/* Virtual times of the queues. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 + MAX_CPUS);
	__type(key, u32);
	__type(value, u64);
} times SEC(".maps");

static __always_inline bool before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
}

/* The tag of the first in a queue; none if it is empty. */
static __always_inline bool head_of(u32 queue, u64 *tag)
{
	struct task_struct *p;

	if (!scx_bpf_dsq_nr_queued(queue))
		return false;
	bpf_for_each (scx_dsq, p, queue, 0) {
		*tag = p->scx.dsq_vtime;
		return true;
	}
	return false;
}
