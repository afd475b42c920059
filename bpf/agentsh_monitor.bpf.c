/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The monitor: what every call did, counted in the kernel. It changes nothing.
 *
 * A call begins when its cgroup gets its first process, and ends when it has none; in between, forks, execs
 * and exits are counted where the process is, and memory where it is charged. Cgroups that are no call's and
 * no agent's cost one look into a map.
 */
#include "kernel.h"
#include "agentsh.h"
#include "names.h"
#include "direct.h"

char _license[] SEC("license") = "GPL";

#define MAX_CALLS    16384
#define MAX_FINISHED 16384
#define PAGE_SIZE    4096

/* Calls and agents that live, by their cgroup's id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_CALLS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, struct call_stats);
} calls SEC(".maps");

/* Those that have ended; the oldest make place for new ones. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_FINISHED);
	__type(key, struct call_key);
	__type(value, struct call_stats);
} finished SEC(".maps");

/* When a task began to wait over memory.high. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} throttled_since SEC(".maps");

/* Calls that found no place in `calls`. */
u64 calls_missed;

static __always_inline struct call_stats *call_at(u64 cgroup_id)
{
	return bpf_map_lookup_elem(&calls, &cgroup_id);
}

/* Begins a call in this cgroup, if it is one's. */
static __always_inline struct call_stats *begin(struct cgroup *cgrp)
{
	u64 id = cgrp->kn->id;
	struct call_stats call = {
		.cgroup_id = id,
		.began_ns = bpf_ktime_get_boot_ns(),
		.class = class_of(cgrp),
	};
	struct cgroup *session;

	if (call.class == CLASS_NONE)
		return 0;
	session = BPF_CORE_READ(cgrp, self.parent, cgroup);
	if (call.class != CLASS_AGENT)
		session = BPF_CORE_READ(session, self.parent, cgroup);
	call.session_id = BPF_CORE_READ(session, kn, id);
	bpf_probe_read_kernel_str(call.name, sizeof(call.name), BPF_CORE_READ(cgrp, kn, name));
	bpf_probe_read_kernel_str(call.session, sizeof(call.session), BPF_CORE_READ(session, kn, name));
	if (bpf_map_update_elem(&calls, &id, &call, BPF_ANY)) {
		__sync_fetch_and_add(&calls_missed, 1);
		return 0;
	}
	return call_at(id);
}

/* The call that a task is in; one that began before the monitor did begins with what is first seen of it. */
static __always_inline struct call_stats *call_of(struct task_struct *p)
{
	struct cgroup *cgrp = p->cgroups->dfl_cgrp;
	struct call_stats *call = call_at(cgrp->kn->id);

	return call ? call : begin(cgrp);
}

SEC("tp_btf/cgroup_notify_populated")
int BPF_PROG(monitor_populated, struct cgroup *cgrp, const char *path, int populated)
{
	u64 id = cgrp->kn->id;
	struct call_stats *call;
	struct call_key key = {.cgroup_id = id};

	if (populated) {
		begin(cgrp);
		return 0;
	}
	call = call_at(id);
	if (!call)
		return 0;
	key.began_ns = call->began_ns;
	call->ended_ns = bpf_ktime_get_boot_ns();
	bpf_map_update_elem(&finished, &key, call, BPF_ANY);
	bpf_map_delete_elem(&calls, &id);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(monitor_fork, struct task_struct *parent, struct task_struct *child)
{
	struct call_stats *call;

	/* Threads are no processes. */
	if (child->pid != child->tgid)
		return 0;
	call = call_of(child);
	if (!call)
		return 0;
	__sync_fetch_and_add(&call->forks, 1);
	if (call->class != CLASS_AGENT && child->cgroups != parent->cgroups &&
	    class_of(parent->cgroups->dfl_cgrp) == CLASS_AGENT)
		direct_is_launcher(parent);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(monitor_exec, struct task_struct *p, int old_pid, struct linux_binprm *bprm)
{
	struct call_stats *call = call_of(p);

	if (!call)
		return 0;
	__sync_fetch_and_add(&call->execs, 1);
	if (call->class == CLASS_AGENT)
		direct_begins(call, p, bprm);
	else
		direct_has_launcher(p);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(monitor_exit, struct task_struct *p)
{
	struct call_stats *call;

	/* The last thread takes the process with it. */
	if (p->signal->live.counter)
		return 0;
	call = call_at(p->cgroups->dfl_cgrp->kn->id);
	if (!call)
		return 0;
	__sync_fetch_and_add(&call->exits, 1);
	direct_ends(p);
	return 0;
}

/* Called once for every 64 pages or so that a cgroup takes: its tasks keep a small stock of charged pages. */
SEC("fentry/page_counter_try_charge")
int BPF_PROG(monitor_charge, struct page_counter *counter)
{
	struct mem_cgroup *memcg = (void *)counter - bpf_core_field_offset(struct mem_cgroup, memory);
	struct call_stats *call = call_at(BPF_CORE_READ(memcg, css.cgroup, kn, id));
	u64 now, pages, passed, rate;

	if (!call)
		return 0;
	now = bpf_ktime_get_boot_ns();
	pages = BPF_CORE_READ(counter, usage.counter);
	passed = now - call->window_ns;
	if (passed < GROWTH_WINDOW_NS)
		return 0;
	/* A pause makes a slow window of a fast burst: what comes after one begins anew. */
	if (passed < 2 * GROWTH_WINDOW_NS && pages > call->window_pages) {
		rate = (pages - call->window_pages) * PAGE_SIZE * 1000 / (passed / 1000000);
		if (rate > call->fastest)
			call->fastest = rate;
	}
	call->window_ns = now;
	call->window_pages = pages;
	return 0;
}

static __always_inline int throttle_begins(void)
{
	u64 *since = bpf_task_storage_get(&throttled_since, bpf_get_current_task_btf(), 0,
					  BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (since)
		*since = bpf_ktime_get_boot_ns();
	return 0;
}

static __always_inline int throttle_ends(void)
{
	struct task_struct *p = bpf_get_current_task_btf();
	u64 *since = bpf_task_storage_get(&throttled_since, p, 0, 0);
	struct call_stats *call;

	if (!since || !*since)
		return 0;
	call = call_at(p->cgroups->dfl_cgrp->kn->id);
	if (call)
		__sync_fetch_and_add(&call->throttled_ns, bpf_ktime_get_boot_ns() - *since);
	*since = 0;
	return 0;
}

/* The same function, by its name since 6.13 or so and the one before: the loader takes the one that is there.
 */
SEC("fentry/__mem_cgroup_handle_over_high")
int BPF_PROG(monitor_throttle_begins)
{
	return throttle_begins();
}

SEC("fexit/__mem_cgroup_handle_over_high")
int BPF_PROG(monitor_throttle_ends)
{
	return throttle_ends();
}

SEC("fentry/mem_cgroup_handle_over_high")
int BPF_PROG(monitor_throttle_begins_old)
{
	return throttle_begins();
}

SEC("fexit/mem_cgroup_handle_over_high")
int BPF_PROG(monitor_throttle_ends_old)
{
	return throttle_ends();
}
