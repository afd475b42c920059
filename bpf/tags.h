/* SPDX-License-Identifier: GPL-2.0-only */
/* What is known of every task and CPU, and the tags: whose turn it is, and what running costs. */
#pragma once
#include "groups.h"
#include "queues.h"

/*
 * A group is at most so much CPU time ahead of its queue, however long it ran there alone; or behind it while
 * it never sleeps: with several CPUs the queue's time runs ahead of those whose turn comes next.
 */
#define LEAD_NS 250000000ULL

struct task_data {
	/* The group the task is in, and the one that it was counted in as runnable. */
	u32 group, generation;
	u32 counted, counted_generation;
	bool is_counted;
	/* Its place in a queue, and which queue's time that is of. */
	u64 tag;
	u32 queue;
	/* Within its group a task of low weight (nice) waits for the others: its own virtual time. */
	u64 own_time;
	/* Since when it is held, and how many pages it may charge in its turn; 0: it has none. */
	u64 held_since;
	u64 turn;
	/* When the call began that began with it; 0 if none did. */
	u64 began_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_data);
} tasks SEC(".maps");

/* What a CPU is doing. */
struct cpu_data {
	u64 tag; /* of what runs; ~0 for what is not ours or idle */
	u64 share;
	u64 since;
	u32 queue;
	u32 waits; /* 1 while it runs what has no credit, and so may be asked to give way */
	/* Of the call that runs: its place, and when it began. */
	u64 began_ns;
	u32 place;
	u32 has_turn;
	/* How often what runs was asked to stop, and when that may be done again. */
	u64 kick_after;
	u32 kicks;
	u32 is_gone; /* offline, or about to be */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CPUS);
	__type(key, u32);
	__type(value, struct cpu_data);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct sched_params);
} sched_params SEC(".maps");

static __always_inline struct task_data *data_of(struct task_struct *p)
{
	return bpf_task_storage_get(&tasks, p, 0, 0);
}

static __always_inline struct cpu_data *cpu_at(u32 cpu)
{
	return bpf_map_lookup_elem(&cpus, &cpu);
}

static __always_inline struct sched_params *params(void)
{
	u32 first = 0;

	return bpf_map_lookup_elem(&sched_params, &first);
}

/* The task's group: the root's if its own has gone. */
static __always_inline struct group *group_of(struct task_data *task)
{
	struct group *group = group_at(task->group);

	if (group && group->generation == task->generation)
		return group;
	task->group = 0;
	group = group_at(0);
	if (group)
		task->generation = group->generation;
	return group;
}

static __always_inline bool is_pinned(const struct task_struct *p)
{
	return p->nr_cpus_allowed == 1;
}

static __always_inline bool is_gone(s32 cpu)
{
	struct cpu_data *it = cpu_at(cpu);

	return it && it->is_gone;
}

/*
 * The time of a queue. A CPU's own begins where the shared one is when the first comes into it, and is never
 * so far behind that what waits in the shared one could be taken to hang.
 */
static __always_inline u64 time_of(u32 queue, const struct cpu_data *it)
{
	u32 shared = SHARED;
	u64 *time = bpf_map_lookup_elem(&times, &queue), *common = bpf_map_lookup_elem(&times, &shared),
	    first;

	if (!time || !common)
		return 0;
	if (queue == SHARED)
		return *time;
	first = it && it->queue != queue && !scx_bpf_dsq_nr_queued(queue) ? *common : *common - LEAD_MOST;
	if (before(*time, first))
		*time = first;
	return *time;
}

/* Gives the task its tag in the queue of its kind. `wakes`: it has slept, and credit is for those. */
static __always_inline void set_tag(struct task_struct *p, struct task_data *task, s32 cpu, bool wakes)
{
	u32 queue = is_pinned(p) ? OWN_OF(cpu) : SHARED, class;
	u64 now = time_of(queue, cpu_at(cpu)), share, lead, earliest, latest, time;
	struct group *group = group_of(task);
	struct sched_params *param = params();

	if (!group || !param)
		return;
	share = group_share(task->group);
	class = group->class < CLASS_SLOTS ? group->class : CLASS_NONE;
	lead = (LEAD_NS << 16) / share;
	latest = now + (lead < LEAD_MOST ? lead : LEAD_MOST);
	earliest = now - (wakes ? (param->credit_ns[class] << 16) / share : lead);
	time = group->vtime;
	if (before(time, earliest))
		time = earliest;
	else if (before(latest, time))
		time = latest;
	if (time != group->vtime)
		group->vtime = time;
	/* The order within the group, which must not keep the whole group waiting. */
	if (before(time, task->own_time) && before(task->own_time, latest))
		time = task->own_time;
	task->tag = time;
	task->queue = queue;
}

/* Charges what the task has run since it was last charged. */
static __always_inline void charge(struct task_struct *p, struct task_data *task, struct cpu_data *it)
{
	u64 now = scx_bpf_now(), used = now - it->since, passed, weight = p->scx.weight;
	struct group *group = group_of(task);

	it->since = now;
	if ((s64)used <= 0 || !group)
		return;
	/* Its share when it began: who has just woken and takes its place would make it look smaller. */
	passed = (used << 16) / (it->share ? it->share : WHOLE);
	__sync_fetch_and_add(&group->vtime, passed);
	__sync_fetch_and_add(&group->cpu_ns, used);
	if (weight && weight < 100)
		task->own_time = task->tag + passed * 100 / weight;
}

/* Notes what the CPU runs from now on. */
static __always_inline void note(struct task_struct *p, struct task_data *task, struct cpu_data *it)
{
	u64 *now = bpf_map_lookup_elem(&times, &task->queue);

	if (now && before(*now, task->tag))
		*now = task->tag;
	it->tag = task->tag;
	it->share = group_share(task->group);
	it->queue = task->queue;
	it->waits = !(p->flags & PF_KTHREAD);
}
