/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Holding: a call whose growth would take what those before it still need stands still, from the charge that
 * shows it on.
 *
 * Looked at where memory is charged, so that no burst outruns it. The call's tasks are stopped at their next
 * page fault, or by a timer's next tick, or when they come to the scheduler next; they wait in a queue of
 * their own. The timer, armed only while there are holds, also ends those that are no longer needed, lets go
 * what has to end or to freeze, and gives each waiting task a turn now and then, for some pages. After a
 * while the call's launcher has frozen it, if it is still needed.
 */
#pragma once
#include "calls.h"

#define RECORD_NS 100000000ULL
/* The tick comes so soon after a charge. */
#define SOON_NS 20000ULL
/* What couldn't be stopped is asked so soon again, and then after twice the time each time, so often. */
#define AGAIN_NS   50000ULL
#define AGAIN_MOST 6

struct hold_timer {
	struct bpf_timer timer;
};

/* Pinned, as a timer ends with its map's last user. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct hold_timer);
} hold_timers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct hold_totals);
} hold_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_EPISODES);
	__type(key, u32);
	__type(value, struct hold_episode);
} hold_episodes SEC(".maps");

const volatile u32 nr_cpus = 1;

/* Calls that are held. */
s32 holds_now;
u32 idle_ticks;
/* The next tick comes soon already. */
u32 tick_is_near;
/* Does the scheduler run? */
bool is_running;

static __always_inline struct hold_totals *totals(void)
{
	u32 first = 0;

	return bpf_map_lookup_elem(&hold_totals, &first);
}

static __always_inline struct hold_episode *episode_of(struct live_call *call)
{
	u32 index = call->episode - 1;

	return call->episode ? bpf_map_lookup_elem(&hold_episodes, &index) : 0;
}

/* It couldn't end, or freeze: the freezer's trap and a kill are reached by running. */
static __always_inline bool has_to_end(struct task_struct *p)
{
	u64 kill = 1UL << (SIGKILL - 1);

	return (p->flags & (PF_EXITING | PF_KTHREAD)) || (p->jobctl & JOBCTL_TRAP_FREEZE) ||
	       (p->pending.signal.sig[0] & kill) ||
	       (BPF_CORE_READ(p, signal, shared_pending.signal.sig[0]) & kill);
}

/* Something waits for it: it has to end, or it reads under RCU, which everybody waits for. */
static __always_inline bool must_run(struct task_struct *p)
{
	/* The scheduler's own programs are run under RCU too, by the task that has just been stopped. */
	int mine = bpf_get_current_task() == (u64)p;

	if (bpf_core_field_exists(p->rcu_read_lock_nesting) && p->rcu_read_lock_nesting > mine)
		return true;
	return has_to_end(p);
}

static __always_inline bool is_held(struct task_struct *p, struct task_data *task)
{
	struct hold_params *param;
	struct live_call *call;
	u32 place;

	if (holds_now <= 0 || task->turn)
		return false;
	param = holding();
	if (!param || param->mode != HOLD_ON)
		return false;
	call = call_of(task, &place);
	/* A CPU that goes waits until all of its tasks are elsewhere. */
	return call && call->held_since && !must_run(p) && !is_gone(scx_bpf_task_cpu(p));
}

/* When to ask again what couldn't be stopped, by how often it was. */
static __always_inline u64 again_after(u32 kicks)
{
	return AGAIN_NS << (kicks < AGAIN_MOST ? kicks : AGAIN_MOST);
}

/* Notes whose call a CPU runs from now on. */
static __always_inline void note_call(struct task_struct *p, struct task_data *task, struct cpu_data *it)
{
	struct hold_params *param = holding();
	struct live_call *call;
	u32 place = 0;

	call = calls_most ? call_of(task, &place) : 0;
	it->place = call ? place : 0;
	it->began_ns = call ? call->began_ns : 0;
	it->has_turn = task->turn > 0;
	it->kick_after = 0;
	if (!call || !call->held_since || !param || !must_run(p)) {
		it->kicks = 0;
		return;
	}
	/* What runs in spite of a hold has to. What reads under RCU has mostly done so in a moment, and
	 * charges on when it has. */
	it->kick_after = bpf_ktime_get_ns() + (has_to_end(p) ? param->tick_ns : again_after(it->kicks));
}

/* Brings the timer's next tick near, so that it finds the task that charges outside of this program, which
 * the kernel runs under RCU. Not if it is near already: it would come the later the more charge. */
static __always_inline void tick_soon(void)
{
	struct hold_timer *it;
	u32 first = 0;

	it = bpf_map_lookup_elem(&hold_timers, &first);
	if (!it || __sync_val_compare_and_swap(&tick_is_near, 0, 1))
		return;
	if (bpf_timer_start(&it->timer, SOON_NS, 0))
		tick_is_near = 0;
}

static __always_inline void record_hold(struct live_call *call, u64 now, u32 crosser)
{
	struct hold_totals *all = totals();
	struct hold_episode *episode;
	u32 index;

	if (!all)
		return;
	index = __sync_fetch_and_add(&all->holds, 1) % MAX_EPISODES;
	episode = bpf_map_lookup_elem(&hold_episodes, &index);
	if (!episode)
		return;
	episode->cgroup_id = call->cgroup_id;
	episode->began_ns = now;
	episode->ended_ns = 0;
	episode->last_ran_ns = now;
	episode->pages_crosser = 0;
	episode->pages_others = 0;
	episode->crosser = crosser;
	call->episode = index + 1;
}

static __always_inline void release(struct live_call *call)
{
	u64 since = call->held_since, now = bpf_ktime_get_ns();
	struct hold_episode *episode = episode_of(call);
	struct hold_totals *all = totals();

	if (!since || __sync_val_compare_and_swap(&call->held_since, since, 0) != since)
		return;
	__sync_fetch_and_add(&holds_now, -1);
	if (all) {
		__sync_fetch_and_add(&all->now, -1);
		__sync_fetch_and_add(&all->held_ns, now - since);
	}
	if (episode)
		episode->ended_ns = now;
}

/* Begins a hold: whoever runs of the call is stopped at its next chance. */
static __always_inline void hold(struct live_call *call, u32 crosser)
{
	u64 now = bpf_ktime_get_ns(), id = call->cgroup_id, began = call->began_ns;
	struct hold_totals *all = totals();

	if (!id || __sync_val_compare_and_swap(&call->held_since, 0, now))
		return;
	__sync_fetch_and_add(&holds_now, 1);
	if (all)
		__sync_fetch_and_add(&all->now, 1);
	/* It may have ended meanwhile, and even another one begun in its place. */
	if (call->cgroup_id != id || call->began_ns != began) {
		release(call);
		return;
	}
	record_hold(call, now, crosser);
	tick_soon();
}

/* What was charged in spite of the hold. */
static __always_inline void record_charge(struct live_call *call, u64 pages, u32 pid)
{
	struct hold_episode *episode = episode_of(call);
	u64 now = bpf_ktime_get_ns();

	if (!episode || now - episode->began_ns > RECORD_NS)
		return;
	__sync_fetch_and_add(episode->crosser == pid ? &episode->pages_crosser : &episode->pages_others,
			     pages);
	episode->last_ran_ns = now;
}

/* A task of a held call no longer runs. */
static __always_inline void record_stop(struct live_call *call)
{
	struct hold_episode *episode = episode_of(call);
	u64 now = bpf_ktime_get_ns();

	if (episode && now - episode->began_ns <= RECORD_NS)
		episode->last_ran_ns = now;
}

/* Called once for every 64 pages or so that a cgroup takes: its tasks keep a small stock of charged pages. */
SEC("fentry/page_counter_try_charge")
int BPF_PROG(hold_charge, struct page_counter *counter, unsigned long pages)
{
	u64 memcg = (u64)counter - bpf_core_field_offset(struct mem_cgroup, memory);
	struct task_struct *p = bpf_get_current_task_btf();
	struct hold_params *param = holding();
	struct task_data *task;
	struct live_call *call;
	struct cpu_data *it;
	u32 place = 0;

	if (!is_running || !calls_most || !param || param->mode == HOLD_OFF)
		return 0;
	task = bpf_task_storage_get(&tasks, p, 0, 0);
	if (!task)
		return 0;
	call = call_of(task, &place);
	if (!call || call->never_held)
		return 0;
	/* Not what an interrupt charges to others, nor swap and the like; a cgroup that the call made is its
	 * own. */
	if (memcg != call->memcg && parent_of(memcg) != call->memcg)
		return 0;
	note_usage(call, param, usage_of(call->memcg));
	if (call->held_since) {
		record_charge(call, pages, p->pid);
		task->turn -= pages < task->turn ? pages : task->turn;
		if (task->turn || has_to_end(p))
			return 0;
		it = cpu_at(bpf_get_smp_processor_id());
		if (it) {
			it->has_turn = false;
			it->kick_after = 0;
		}
		if (param->mode == HOLD_ON)
			tick_soon();
		return 0;
	}
	if (!(p->flags & PF_EXITING) && is_short(place, 0))
		hold(call, p->pid);
	return 0;
}

/*
 * A program charges by its page faults, and here, at the next one, it has no lock of the kernel and isn't
 * read under RCU: it is stopped as soon as interrupts are on again, with what it has charged before and no
 * page more. No timer is that exact. What charges within the kernel is the tick's to stop.
 */
SEC("tp_btf/page_fault_user")
int BPF_PROG(hold_fault)
{
	struct task_struct *p = bpf_get_current_task_btf();
	struct task_data *task;

	if (holds_now <= 0 || !is_running)
		return 0;
	task = bpf_task_storage_get(&tasks, p, 0, 0);
	if (task && is_held(p, task))
		scx_bpf_kick_cpu(bpf_get_smp_processor_id(), scx.kick_preempt);
	return 0;
}

/* Ends the holds that are no longer needed. */
static __noinline int review(void)
{
	struct hold_params *param = holding();
	u32 i;

	if (!param)
		return 0;
	bpf_for (i, 0, calls_most) {
		struct live_call *call = bpf_map_lookup_elem(&live_calls, &i);

		if (!call || !call->held_since)
			continue;
		if (!call->cgroup_id || param->mode == HOLD_OFF || !is_short(i + 1, param->release_pages))
			release(call);
	}
	return 0;
}
