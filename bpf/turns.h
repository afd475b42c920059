/* SPDX-License-Identifier: GPL-2.0-only */
/* What the timer does while there are holds: it stops who runs, lets go who need not or must not wait, and
 * gives turns. */
#pragma once
#include "hold.h"

/* Held tasks that one tick looks at. */
#define LOOKS_MOST 512
/* Looked at a little longer than there are holds: a task may be on its way into the queue. */
#define LINGER_TICKS 64
/* A turn: what a call without a launcher gets through of what it still needs, and far less than `creep`. */
#define TURN_PAGES 256
/* Looked after so long when a CPU goes. */
#define GONE_NS 5000000000ULL

/* Stops whoever runs of a held call and has no turn. Tells after what time there is something to stop again,
 * at most `most`. */
static __noinline u64 stop_runners(u64 most)
{
	u64 now = bpf_ktime_get_ns(), next = most;
	u32 cpu;

	bpf_for (cpu, 0, nr_cpus) {
		struct cpu_data *it = cpu_at(cpu);
		struct live_call *call = it && !it->has_turn ? call_at(it->place) : 0;

		if (!call || !call->held_since || call->began_ns != it->began_ns)
			continue;
		if (it->kick_after <= now) {
			it->kick_after = now + again_after(it->kicks);
			it->kicks++;
			scx_bpf_kick_cpu(cpu, scx.kick_preempt);
		}
		if (it->kick_after - now < next)
			next = it->kick_after - now;
	}
	return next > AGAIN_NS ? next : AGAIN_NS;
}

/* Held tasks looked at in this tick; not a local variable, whose every value the verifier would follow. */
static u32 looked;
static bool any_went;

/* Lets tasks of one queue of held ones go on: those that aren't held any more, and those whose turn it is.
 * Tells how many it has looked at. */
static __noinline int let_go_of(u32 queue, u64 period)
{
	struct hold_totals *all = totals();
	u64 now = bpf_ktime_get_ns();
	struct task_struct *p;

	if (!all)
		return 0;
	bpf_rcu_read_lock();
	bpf_for_each (scx_dsq, p, queue, 0) {
		struct task_data *task;
		s32 cpu = scx_bpf_task_cpu(p);

		if (++looked > LOOKS_MOST)
			break;
		task = bpf_task_storage_get(&tasks, p, 0, 0);
		if (task && is_held(p, task)) {
			/* Not all at once that were held at once. */
			if (now - task->held_since < period + (p->pid & 63) * (period >> 7))
				continue;
			task->turn = TURN_PAGES;
			__sync_fetch_and_add(&all->turns, 1);
		} else if (task && must_run(p)) {
			__sync_fetch_and_add(&all->must_run, 1);
		}
		if (is_pinned(p) && is_gone(cpu)) {
			scx_bpf_dsq_move(&___it, p, scx.dsq_local_on | cpu, 0);
			continue;
		}
		scx_bpf_dsq_move_set_vtime(&___it, task ? task->tag : 0);
		if (scx_bpf_dsq_move_vtime(&___it, p, task ? task->queue : SHARED, 0))
			any_went = true;
	}
	bpf_rcu_read_unlock();
	return 0;
}

static __always_inline u32 held_tasks(void)
{
	u32 i, all = 0;

	bpf_for (i, 0, HELD_QUEUES) {
		s32 queued = scx_bpf_dsq_nr_queued(HELD + i);

		all += queued > 0 ? queued : 0;
	}
	return all;
}

/* Lets tasks go on. Of very many some at each tick. */
static __noinline int let_go(u32 queued)
{
	struct hold_params *param = holding();
	u32 i, cpu;
	static u32 first;
	u64 period;

	if (!param || !queued)
		return 0;
	period = queued * (param->wait_ns / 4);
	if (period < param->wait_ns)
		period = param->wait_ns;
	if (period > param->round_ns)
		period = param->round_ns;
	if (period > param->patience_ns)
		period = param->patience_ns;
	looked = 0;
	any_went = false;
	bpf_for (i, 0, HELD_QUEUES) {
		if (looked > LOOKS_MOST)
			break;
		let_go_of(HELD + first % HELD_QUEUES, period);
		first++;
	}
	if (any_went) {
		bpf_for (cpu, 0, nr_cpus)
			scx_bpf_kick_cpu(cpu, scx.kick_idle);
	}
	return 0;
}

/* What is bound to a CPU that goes is the kernel's to take elsewhere, once it has it. */
static __noinline int hand_over(s32 cpu)
{
	struct task_struct *p;

	bpf_for_each (scx_dsq, p, OWN_OF(cpu), 0) {
		scx_bpf_dsq_move(&___it, p, scx.dsq_local_on | cpu, 0);
	}
	return 0;
}

/* A CPU has gone at this time; 0 if none has lately. */
static u64 gone_at;

/* A task that was on its way into a CPU's own queue while that went is in it now, and the CPU asks no more.
 * It can't go before that task has: the watchdog would end us. */
static __noinline bool look_after_gone(void)
{
	u64 at = gone_at;
	u32 cpu;

	if (!at)
		return false;
	bpf_for (cpu, 0, nr_cpus) {
		if (is_gone(cpu) && scx_bpf_dsq_nr_queued(OWN_OF(cpu)) > 0)
			hand_over(cpu);
	}
	if (bpf_ktime_get_ns() - at > GONE_NS)
		__sync_val_compare_and_swap(&gone_at, at, 0);
	return true;
}

static int hold_tick(void *map, u32 *key, struct bpf_timer *timer)
{
	struct hold_params *param = holding();
	u64 next = param && param->tick_ns ? param->tick_ns : 4000000;
	u32 queued;

	if (!is_running)
		return 0;
	/* First, and atomically: who finds it near has said before what this tick is to see. */
	__sync_lock_test_and_set(&tick_is_near, 0);
	if (param && param->mode == HOLD_ON && holds_now > 0)
		next = stop_runners(next);
	queued = held_tasks();
	idle_ticks = holds_now > 0 || queued ? 0 : idle_ticks + 1;
	if (look_after_gone() || idle_ticks <= LINGER_TICKS)
		bpf_timer_start(timer, next, 0);
	/* Somebody has brought it near meanwhile. */
	if (tick_is_near)
		bpf_timer_start(timer, SOON_NS, 0);
	review();
	let_go(queued);
	return 0;
}

/* A CPU goes: what is held and would run there next runs there, or elsewhere, once more. */
static __always_inline void let_go_from(s32 cpu)
{
	struct task_struct *p;
	u32 i;

	bpf_for (i, 0, HELD_QUEUES) {
		bpf_for_each (scx_dsq, p, HELD + i, 0) {
			if (scx_bpf_task_cpu(p) != cpu)
				continue;
			if (is_pinned(p))
				scx_bpf_dsq_move(&___it, p, scx.dsq_local_on | cpu, 0);
			else
				scx_bpf_dsq_move_vtime(&___it, p, SHARED, 0);
		}
	}
}
