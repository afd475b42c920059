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
#include "queues.h"
#include "tags.h"
#include "calls.h"
#include "hold.h"
#include "life.h"
#include "turns.h"
#include "exit.h"
#include "fault.h"

char _license[] SEC("license") = "GPL";

/* Waking tasks preempt what is so much CPU time of their share behind them. */
#define PREEMPT_NS 1000000ULL

s32 SCX_OP(select_cpu, struct task_struct *p, s32 prev_cpu, u64 wake_flags)
{
	struct task_data *task = data_of(p);
	struct sched_params *param = params();
	bool is_idle = false;
	s32 cpu;

	if (task && is_held(p, task))
		return prev_cpu;
	cpu = scx_bpf_select_cpu_dfl(p, prev_cpu, wake_flags, &is_idle);
	if (is_idle && task && param && !is_lost(p)) {
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
	if (is_lost(p))
		return;
	/* The CPU that it is bound to asks for tasks no more: only the kernel can take it elsewhere. */
	if (is_pinned(p) && is_gone(cpu)) {
		scx_bpf_dsq_insert(p, scx.dsq_local, param->slice_ns, enq_flags);
		return;
	}
	set_tag(p, task, cpu, wakes);
	if (is_held(p, task)) {
		task->held_since = bpf_ktime_get_ns();
		scx_bpf_dsq_insert(p, HELD_OF(p->pid), param->slice_ns, enq_flags);
		return;
	}
	/* Nothing else was found for this CPU: it would go idle. */
	if (enq_flags & scx.enq_last) {
		scx_bpf_dsq_insert(p, scx.dsq_local, param->slice_ns, enq_flags);
		return;
	}
	scx_bpf_dsq_insert_vtime(p, task->queue, param->slice_ns, task->tag, enq_flags);
	if (task->queue != SHARED && scx_bpf_test_and_clear_cpu_idle(cpu))
		scx_bpf_kick_cpu(cpu, scx.kick_idle);
	else if (wakes)
		preempt_for(p, task, group_share(task->group));
}

/*
 * What ran is asked for first: it isn't in a queue yet, and if its turn comes before everybody else's it
 * stays. (Two tasks on a CPU would simply alternate otherwise, whatever their weights.)
 */
void SCX_OP(dispatch, s32 cpu, struct task_struct *prev)
{
	struct cpu_data *it = cpu_at(cpu);
	struct sched_params *param = params();
	u64 own_tag = 0, shared_tag = 0;
	bool own = head_of(OWN_OF(cpu), &own_tag), shared = head_of(SHARED, &shared_tag);
	bool own_first = own && (!shared || !before(shared_tag, own_tag));
	struct task_data *task;

	if (it && param && prev && (prev->scx.flags & scx.task_queued)) {
		task = data_of(prev);
		if (task && !is_held(prev, task)) {
			charge(prev, task, it);
			set_tag(prev, task, cpu, false);
			if ((!own && !shared) || !before(own_first ? own_tag : shared_tag, task->tag)) {
				prev->scx.slice = param->slice_ns;
				note(prev, task, it);
				note_call(prev, task, it);
				return;
			}
		}
	}
	if (!scx_bpf_dsq_move_to_local(own_first ? OWN_OF(cpu) : SHARED))
		scx_bpf_dsq_move_to_local(own_first ? SHARED : OWN_OF(cpu));
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
	struct live_call *call;
	struct group *group;
	u32 place = 0;

	if (!task)
		return;
	call = calls_most ? call_of(task, &place) : 0;
	if (call)
		call->slept_ns = bpf_ktime_get_ns();
	/* The end is seen here: `exit_task` may come only after the parent has waited for it, and a grace
	 * period. Any thread may be the last one. */
	if (call && (p->flags & PF_EXITING) && call->main == (u32)p->tgid &&
	    !BPF_CORE_READ(p, signal, live.counter))
		call_ends(call, place);
	if (!task->is_counted)
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
	note_call(p, task, it);
	/* One that was on its way to this CPU when the hold began. */
	if (is_held(p, task))
		scx_bpf_kick_cpu(scx_bpf_task_cpu(p), scx.kick_preempt);
}

void SCX_OP(stopping, struct task_struct *p, bool runnable)
{
	struct task_data *task = data_of(p);
	struct cpu_data *it = cpu_at(scx_bpf_task_cpu(p));
	struct live_call *call;
	u32 place = 0;

	if (!task || !it)
		return;
	call = holds_now > 0 ? call_of(task, &place) : 0;
	if (call && call->held_since)
		record_stop(call);
	it->waits = 0;
	it->place = 0;
	task->turn = 0;
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
	if (!args->fork)
		call_is_there(p, task, args->cgroup);
	else if (call_of_starter() != task->group)
		call_begins(p, task, args->cgroup, bpf_ktime_get_ns());
	return 0;
}

void SCX_OP(exit_task, struct task_struct *p, struct scx_exit_task_args *args)
{
	struct task_data *task = data_of(p);
	struct live_call *call;
	u32 place = 0;

	if (!task || !task->began_ns)
		return;
	call = call_of(task, &place);
	if (!call || call->began_ns != task->began_ns)
		return;
	/* One that wasn't started after all; or the last thread's end wasn't seen. Of a first thread that
	 * ends before others Linux 7 tells here, too. */
	if (BPF_CORE_READ(args, cancelled) || !BPF_CORE_READ(p, signal, live.counter))
		call_ends(call, place);
}

s32 SCX_OP_SLEEPABLE(cgroup_init, struct cgroup *cgrp, struct scx_cgroup_init_args *args)
{
	group_add(cgrp, args->weight);
	return 0;
}

void SCX_OP_SLEEPABLE(cgroup_exit, struct cgroup *cgrp)
{
	struct group *group = group_at(index_of(BPF_CORE_READ(cgrp, kn, id)));
	struct live_call *call;
	u32 place = group ? group->place : 0;

	call = call_at(place);
	if (call && group && call->cgroup_id == group->cgroup_id)
		call_ends(call, place);
	group_remove(cgrp);
}

void SCX_OP(cgroup_move, struct task_struct *p, struct cgroup *from, struct cgroup *to)
{
	struct task_data *task = data_of(p);
	struct live_call *call;
	struct group *group;
	u32 place = 0, by;

	if (!task)
		return;
	call = call_of(task, &place);
	/* Often it is the task itself. */
	by = call_of_starter();
	task->group = index_of(BPF_CORE_READ(to, kn, id));
	group = group_at(task->group);
	if (group)
		task->generation = group->generation;
	/* Below its leaf it is still in the call. */
	if (call && call->main == (u32)p->tgid && (!group || group->call != call->group))
		call_ends(call, place);
	if (by != task->group)
		call_begins(p, task, to, bpf_ktime_get_ns());
}

void SCX_OP(cgroup_set_weight, struct cgroup *cgrp, u32 weight)
{
	group_reweigh(index_of(BPF_CORE_READ(cgrp, kn, id)), weight);
}

/*
 * Being told of CPUs that come and go is what lets the scheduler stay. From one that goes nobody asks for
 * tasks any more, and no other CPU may take those that are bound to it: handed over to it, they are pushed
 * away by the kernel.
 */
void SCX_OP(cpu_online, s32 cpu)
{
	struct cpu_data *it = cpu_at(cpu);

	if (it)
		it->is_gone = 0;
}

void SCX_OP(cpu_offline, s32 cpu)
{
	struct cpu_data *it = cpu_at(cpu);

	if (it) {
		it->waits = 0;
		it->is_gone = 1;
	}
	hand_over(cpu);
	let_go_from(cpu);
	gone_at = bpf_ktime_get_ns();
	tick_soon();
}

s32 SCX_OP_SLEEPABLE(init)
{
	s32 error = scx_bpf_create_dsq(SHARED, -1);
	struct hold_timer *timer;
	u32 cpu, first = 0;

	if (error)
		return error;
	bpf_for (cpu, 0, HELD_QUEUES) {
		error = scx_bpf_create_dsq(HELD + cpu, -1);
		if (error)
			return error;
	}
	timer = bpf_map_lookup_elem(&hold_timers, &first);
	if (!timer)
		return -1;
	bpf_timer_init(&timer->timer, &hold_timers, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&timer->timer, hold_tick);
	is_running = true;
	bpf_for (cpu, 0, nr_cpus) {
		error = scx_bpf_create_dsq(OWN_OF(cpu), -1);
		if (error)
			return error;
	}
	return 0;
}

void SCX_OP(exit, struct scx_exit_info *info)
{
	is_running = false;
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
	.exit_task = (void *)agentsh_exit_task,
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
