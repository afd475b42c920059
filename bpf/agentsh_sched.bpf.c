/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The scheduler: every group of tasks gets CPU by its weight in the tree of cgroups, and short calls get it
 * first.
 *
 * Start-time fair queueing. A group has a virtual time up to which it has had its share; running for t
 * nanoseconds moves it on by t / share. A task that becomes runnable gets a tag: its group's virtual time,
 * but not before the queue's, which is the tag of what was started last. The lowest tag goes first. So a
 * group that has used its share waits for those that haven't, in any tree of weights, and nobody has to be
 * asked in turn.
 *
 * A group that has slept may start a little before the queue's time: its credit, given by class. That makes
 * an `explore` call of some milliseconds run at once through any number of builds, and nothing starves,
 * because a group that goes on running uses its credit up and then has its share like all others.
 *
 * Tasks that may run on one CPU only wait in a queue of that CPU, with a virtual time of its own: the shared
 * queue may be far ahead of what one busy CPU can do.
 */
#include "kernel.h"
#include "agentsh.h"
#include "groups.h"
#include "exit.h"

char _license[] SEC("license") = "GPL";

/* Queues: one for all CPUs, then one for each. */
#define SHARED	    0
#define OWN_OF(cpu) (1 + (cpu))

/*
 * A group is at most so much CPU time ahead of its queue, however long it ran there alone; or behind it while
 * it never sleeps: with several CPUs the queue's time runs ahead of those whose turn comes next.
 */
#define LEAD_NS 250000000ULL
/* But never so far, in virtual time, that what is at the end of the queue could be taken to hang. */
#define LEAD_MOST 1000000000ULL
/* Waking tasks preempt what is so much CPU time of their share behind them. */
#define PREEMPT_NS 1000000ULL

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
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct task_data);
} tasks SEC(".maps");

/* Virtual times of the queues. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 + MAX_CPUS);
	__type(key, u32);
	__type(value, u64);
} times SEC(".maps");

/* What a CPU is doing. */
struct cpu_data {
	u64 tag; /* of what runs; ~0 for what is not ours or idle */
	u64 share;
	u64 since;
	u32 queue;
	u32 waits; /* 1 while it runs what has no credit, and so may be asked to give way */
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

const volatile u32 nr_cpus = 1;

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

static __always_inline bool before(u64 a, u64 b)
{
	return (s64)(a - b) < 0;
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

/* Gives the task its tag in the queue of its kind. `wakes`: it has slept, and credit is for those. */
static __always_inline void set_tag(struct task_struct *p, struct task_data *task, s32 cpu, bool wakes)
{
	u32 queue = is_pinned(p) ? OWN_OF(cpu) : SHARED, class;
	u64 *now = bpf_map_lookup_elem(&times, &queue);
	struct group *group = group_of(task);
	struct sched_params *param = params();
	u64 share, lead, earliest, latest, time;

	if (!now || !group || !param)
		return;
	share = group_share(task->group);
	class = group->class < CLASS_SLOTS ? group->class : CLASS_NONE;
	lead = (LEAD_NS << 16) / share;
	latest = *now + (lead < LEAD_MOST ? lead : LEAD_MOST);
	earliest = *now - (wakes ? (param->credit_ns[class] << 16) / share : lead);
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

s32 SCX_OP(select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct task_data *task = data_of(p);
	struct sched_params *param = params();
	bool is_idle = false;
	s32 cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);

	if (is_idle && task && param) {
		set_tag(p, task, cpu, true);
		scx_bpf_dsq_insert(p, scx.dsq_local, param->slice_ns, 0);
	}
	return cpu;
}

/* Asks a CPU that runs something with a later tag and no credit to take the task at once; the last one first.
 */
static __always_inline void preempt_for(struct task_struct *p, struct task_data *task, u64 share)
{
	s32 last = scx_bpf_task_cpu(p), found = -1;
	u64 margin = (PREEMPT_NS << 16) / share, worst = task->tag + margin;
	u32 cpu;

	if (task->queue != SHARED) {
		struct cpu_data *it = cpu_at(last);

		if (it && it->waits && (it->queue != task->queue || before(worst, it->tag)))
			scx_bpf_kick_cpu(last, scx.kick_preempt);
		return;
	}
	bpf_for (cpu, 0, nr_cpus) {
		struct cpu_data *it = cpu_at(cpu);

		if (!it || !it->waits || it->queue != SHARED || !before(worst, it->tag))
			continue;
		if (cpu < 64 && (u32)p->nr_cpus_allowed < nr_cpus && !(p->cpus_ptr->bits[0] & (1UL << cpu)))
			continue;
		worst = it->tag;
		found = cpu;
	}
	if (found >= 0)
		scx_bpf_kick_cpu(found, scx.kick_preempt);
}

void SCX_OP(enqueue, struct task_struct *p, u64 enq_flags)
{
	struct task_data *task = data_of(p);
	struct sched_params *param = params();
	s32 cpu = scx_bpf_task_cpu(p);
	bool wakes = enq_flags & scx.enq_wakeup;

	/* A CPU's own kernel threads do the kernel's work of that CPU: nothing may keep them waiting. */
	if (!task || !param || ((p->flags & PF_KTHREAD) && is_pinned(p))) {
		scx_bpf_dsq_insert(p, scx.dsq_local, param ? param->slice_ns : 5000000,
				   enq_flags | scx.enq_preempt);
		return;
	}
	set_tag(p, task, cpu, wakes);
	scx_bpf_dsq_insert_vtime(p, task->queue, param->slice_ns, task->tag, enq_flags);
	if (task->queue != SHARED && scx_bpf_test_and_clear_cpu_idle(cpu))
		scx_bpf_kick_cpu(cpu, scx.kick_idle);
	else if (wakes)
		preempt_for(p, task, group_share(task->group));
}

/* Charges what the task has run since it was last charged. */
static __always_inline void charge(struct task_struct *p, struct task_data *task, struct cpu_data *it)
{
	u64 now = scx_bpf_now(), used = now - it->since, passed, weight = p->scx.weight;
	struct group *group = group_of(task);

	it->since = now;
	if ((s64)used <= 0 || !group)
		return;
	passed = (used << 16) / group_share(task->group);
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
	it->queue = task->queue;
	it->waits = !(p->flags & PF_KTHREAD);
}

/* How far the first of a queue is behind the queue's time; the most if there is none. */
static __always_inline s64 head_of(u32 queue)
{
	u64 *now = bpf_map_lookup_elem(&times, &queue);
	s64 behind = 1LL << 62;
	struct task_struct *p;

	if (!now || !scx_bpf_dsq_nr_queued(queue))
		return behind;
	bpf_for_each (scx_dsq, p, queue, 0) {
		behind = p->scx.dsq_vtime - *now;
		break;
	}
	return behind;
}

/*
 * What ran is asked for first: it isn't in a queue yet, and if its turn comes before everybody else's it
 * stays. (Two tasks on a CPU would simply alternate otherwise, whatever their weights.)
 */
void SCX_OP(dispatch, s32 cpu, struct task_struct *prev)
{
	struct cpu_data *it = cpu_at(cpu);
	s64 own = head_of(OWN_OF(cpu)), shared = head_of(SHARED);
	u32 first = own <= shared ? OWN_OF(cpu) : SHARED;
	u32 second = first == SHARED ? OWN_OF(cpu) : SHARED;
	struct sched_params *param = params();
	struct task_data *task;

	if (it && param && prev && (prev->scx.flags & scx.task_queued)) {
		task = data_of(prev);
		if (task) {
			u64 *now;

			charge(prev, task, it);
			set_tag(prev, task, cpu, false);
			now = bpf_map_lookup_elem(&times, &task->queue);
			if (now && (s64)(task->tag - *now) <= (own <= shared ? own : shared)) {
				prev->scx.slice = param->slice_ns;
				note(prev, task, it);
				return;
			}
		}
	}
	if (!scx_bpf_dsq_move_to_local(first))
		scx_bpf_dsq_move_to_local(second);
}

void SCX_OP(runnable, struct task_struct *p, u64 enq_flags)
{
	struct task_data *task = data_of(p);
	struct group *group;

	if (!task || task->is_counted)
		return;
	group = group_of(task);
	if (!group)
		return;
	task->counted = task->group;
	task->counted_generation = task->generation;
	task->is_counted = true;
	__sync_fetch_and_add(&group->tasks, 1);
	group_activate(task->group);
}

void SCX_OP(quiescent, struct task_struct *p, u64 deq_flags)
{
	struct task_data *task = data_of(p);
	struct group *group;

	if (!task || !task->is_counted)
		return;
	task->is_counted = false;
	group = group_at(task->counted);
	if (!group || group->generation != task->counted_generation)
		return;
	__sync_fetch_and_add(&group->tasks, -1);
	group_deactivate(task->counted);
}

void SCX_OP(running, struct task_struct *p)
{
	struct task_data *task = data_of(p);
	struct cpu_data *it = cpu_at(scx_bpf_task_cpu(p));

	if (!task || !it)
		return;
	it->since = scx_bpf_now();
	note(p, task, it);
}

void SCX_OP(stopping, struct task_struct *p, bool runnable)
{
	struct task_data *task = data_of(p);
	struct cpu_data *it = cpu_at(scx_bpf_task_cpu(p));

	if (!task || !it)
		return;
	it->waits = 0;
	charge(p, task, it);
}

s32 SCX_OP(init_task, struct task_struct *p, struct scx_init_task_args *args)
{
	struct task_data *task = bpf_task_storage_get(&tasks, p, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	struct group *group;

	/* Without its data a task still runs: as one of the root's. */
	if (!task)
		return 0;
	task->group = index_of(BPF_CORE_READ(args, cgroup, kn, id));
	group = group_at(task->group);
	if (group)
		task->generation = group->generation;
	return 0;
}

s32 SCX_OP_SLEEPABLE(cgroup_init, struct cgroup *cgrp, struct scx_cgroup_init_args *args)
{
	group_add(cgrp, args->weight);
	return 0;
}

void SCX_OP_SLEEPABLE(cgroup_exit, struct cgroup *cgrp)
{
	group_remove(cgrp);
}

void SCX_OP(cgroup_move, struct task_struct *p, struct cgroup *from, struct cgroup *to)
{
	struct task_data *task = data_of(p);
	struct group *group;

	if (!task)
		return;
	task->group = index_of(BPF_CORE_READ(to, kn, id));
	group = group_at(task->group);
	if (group)
		task->generation = group->generation;
}

void SCX_OP(cgroup_set_weight, struct cgroup *cgrp, u32 weight)
{
	group_reweigh(index_of(BPF_CORE_READ(cgrp, kn, id)), weight);
}

/* Being told of CPUs that come and go is what lets the scheduler stay. */
void SCX_OP(cpu_online, s32 cpu)
{
}

void SCX_OP(cpu_offline, s32 cpu)
{
	struct cpu_data *it = cpu_at(cpu);

	if (it)
		it->waits = 0;
}

s32 SCX_OP_SLEEPABLE(init)
{
	s32 error = scx_bpf_create_dsq(SHARED, -1);
	u32 cpu;

	if (error)
		return error;
	bpf_for (cpu, 0, nr_cpus) {
		error = scx_bpf_create_dsq(OWN_OF(cpu), -1);
		if (error)
			return error;
	}
	return 0;
}

void SCX_OP(exit, struct scx_exit_info *info)
{
	record_exit(info);
}

SEC(".struct_ops.link")
struct sched_ext_ops agentsh_ops = {
	.select_cpu = (void *)agentsh_select_cpu,
	.enqueue = (void *)agentsh_enqueue,
	.dispatch = (void *)agentsh_dispatch,
	.runnable = (void *)agentsh_runnable,
	.running = (void *)agentsh_running,
	.stopping = (void *)agentsh_stopping,
	.quiescent = (void *)agentsh_quiescent,
	.init_task = (void *)agentsh_init_task,
	.cgroup_init = (void *)agentsh_cgroup_init,
	.cgroup_exit = (void *)agentsh_cgroup_exit,
	.cgroup_move = (void *)agentsh_cgroup_move,
	.cgroup_set_weight = (void *)agentsh_cgroup_set_weight,
	.cpu_online = (void *)agentsh_cpu_online,
	.cpu_offline = (void *)agentsh_cpu_offline,
	.init = (void *)agentsh_init,
	.exit = (void *)agentsh_exit,
	.name = "agentsh",
};
