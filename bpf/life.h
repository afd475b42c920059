/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When a call begins and ends, for holding: with its first process. Its place among the calls is given back
 * when that process ends, when it moves elsewhere, and when the leaf is removed.
 */
#pragma once
#include "hold.h"

/* The call's first process has ended or left: what it leaves behind is not held. Who comes first ends it. */
static __always_inline void call_ends(struct live_call *call, u32 place)
{
	struct group *leaf = group_at(call->group);
	struct hold_totals *all = totals();
	u64 id = call->cgroup_id;

	if (!id || __sync_val_compare_and_swap(&call->cgroup_id, id, 0) != id)
		return;
	if (leaf)
		__sync_val_compare_and_swap(&leaf->place, place, 0);
	release(call);
	if (all)
		__sync_fetch_and_add(&all->calls, -1);
	__sync_lock_test_and_set(&call->taken, 0);
}

/*
 * The outermost session that a cgroup lies in, by its id, which is what holds the first `calls` below the
 * root; 0 if there is none. Its weight is its priority. That of one further in is written by who made it: a
 * user may do so with any name, whatever lies in between. By address, as the verifier wants it.
 */
__noinline u64 outermost_session(u64 cgroup)
{
	u64 session = 0;

	for (int n = 0; n < MAX_DEPTH; n++) {
		struct cgroup *it = (struct cgroup *)cgroup, *above = BPF_CORE_READ(it, self.parent, cgroup);
		char name[NAME_LENGTH] = {};

		if (!above)
			break;
		bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(it, kn, name));
		if (NAMED(name, "calls"))
			session = BPF_CORE_READ(above, kn, id);
		cgroup = (u64)above;
	}
	return session;
}

/* A task has come into a leaf, or is there when the scheduler begins: does a call begin with it? */
static __always_inline void call_begins(struct task_struct *p, struct task_data *task, struct cgroup *cgrp,
					u64 began)
{
	struct group *leaf = group_at(task->group), *calls;
	u64 id = BPF_CORE_READ(cgrp, kn, id), memcg, level;
	struct hold_totals *all = totals();
	struct live_call *call;
	u32 place, session, outermost, owner;

	if (!leaf || leaf->call != task->group || leaf->place || leaf->cgroup_id != id)
		return;
	memcg = memcg_of(cgrp);
	if (!memcg)
		return;
	calls = group_at(leaf->parent);
	session = calls ? calls->parent : 0;
	outermost = index_of(outermost_session((u64)BPF_CORE_READ(cgrp, self.parent, cgroup)));
	owner = BPF_CORE_READ(p, real_cred, uid.val);
	place = take_place(outermost, owner);
	call = call_at(place);
	if (!call) {
		if (all)
			__sync_fetch_and_add(&all->refused, 1);
		return;
	}
	/* Whoever held its predecessor too late does so for a moment; it is counted, and so taken back the
	 * same way. */
	release(call);
	call->began_ns = began;
	call->slept_ns = bpf_ktime_get_ns();
	call->episode = 0;
	call->group = task->group;
	call->session_group = session;
	call->outermost = outermost;
	call->main = p->tgid;
	call->owner = owner;
	read_number(cgrp, call);
	call->memcg = memcg;
	/* Its leaf's peak may be an earlier call's: the best guess there is. */
	call->span_began = call->slept_ns;
	call->most = peak_of(memcg);
	call->most_before = call->most;
	call->least = 0;
	call->least_before = 0;
	level = memcg;
	for (int n = 0; n < HOLD_LEVELS; n++) {
		level = level ? parent_of(level) : 0;
		call->above[n] = level;
	}
	if (__sync_val_compare_and_swap(&leaf->place, 0, place)) {
		__sync_lock_test_and_set(&call->taken, 0);
		return;
	}
	if (all)
		__sync_fetch_and_add(&all->calls, 1);
	/* Last: by this it is seen. */
	__sync_lock_test_and_set(&call->cgroup_id, id);
	task->began_ns = began;
}

/* The call that whoever starts or moves a task is in: what an earlier call left behind begins none. */
static __always_inline u32 call_of_starter(void)
{
	struct task_data *starter = bpf_task_storage_get(&tasks, bpf_get_current_task_btf(), 0, 0);
	struct group *group = starter ? group_at(starter->group) : 0;

	return group ? group->call : 0;
}

/* Of a task that was there before us: the call's is a child of its launcher, which is with the agent or in a
 * call that made this one; what was left behind is init's. */
static __always_inline void call_is_there(struct task_struct *p, struct task_data *task, struct cgroup *cgrp)
{
	struct cgroup *of_parent = BPF_CORE_READ(p, real_parent, cgroups, dfl_cgrp);

	if (p->pid == p->tgid && of_parent && of_parent != cgrp && class_of(of_parent) != CLASS_NONE)
		call_begins(p, task, cgrp, p->start_time);
}
