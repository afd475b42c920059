/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs that an agent starts by itself, past the shell: noticed when they are executed in its own cgroup.
 *
 * agentsh is executed there as well, by every call; it is told by what it does next, which is to start a
 * process in a leaf, and forgotten then.
 */
#pragma once
#include "kernel.h"
#include "agentsh.h"
#include "names.h"

#define MAX_DIRECT 4096
#define MAX_AGENTS 1024
/* Of the ring: some 4,000 processes, for who listens. Without anybody it is full, and that is all. */
#define NEWS_BYTES 65536

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct___process {
	struct task_struct___process *group_leader;
	struct task_struct___process *real_parent;
	u64 start_boottime;
	int tgid;
};

struct linux_binprm {
	const char *filename;
};

#pragma clang attribute pop

/* The last ones, those that have ended too; the oldest make place for new ones. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_DIRECT);
	__type(key, struct process_key);
	__type(value, struct direct_exec);
} direct SEC(".maps");

/* Whose program has just begun, for `agentsh-helper serve`. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, NEWS_BYTES);
} direct_news SEC(".maps");

/* Who has called agentsh, and so is an agent; the value is when. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MAX_AGENTS);
	__type(key, struct process_key);
	__type(value, u64);
} agents SEC(".maps");

static __always_inline struct process_key process_of(struct task_struct *p)
{
	struct task_struct___process *leader = BPF_CORE_READ((struct task_struct___process *)p, group_leader);

	return (struct process_key){
		.started_ns = BPF_CORE_READ(leader, start_boottime),
		.pid = BPF_CORE_READ(leader, tgid),
	};
}

/* A program has begun in an agent's cgroup. */
static __always_inline void direct_begins(const struct call_stats *agent, struct task_struct *p,
					  struct linux_binprm *bprm)
{
	struct task_struct___process *parent =
		BPF_CORE_READ((struct task_struct___process *)p, real_parent, group_leader);
	struct process_key key = process_of(p);
	struct direct_exec it = {
		.agent_id = agent->cgroup_id,
		.session_id = agent->session_id,
		.began_ns = bpf_ktime_get_boot_ns(),
		.parent_started_ns = BPF_CORE_READ(parent, start_boottime),
		.parent = BPF_CORE_READ(parent, tgid),
	};

	bpf_probe_read_kernel_str(it.comm, sizeof(it.comm), p->comm);
	bpf_probe_read_kernel_str(it.file, sizeof(it.file), BPF_CORE_READ(bprm, filename));
	/* One that becomes another program counts as that. */
	if (!bpf_map_update_elem(&direct, &key, &it, BPF_ANY))
		bpf_ringbuf_output(&direct_news, &key, sizeof(key), 0);
}

/* A process has started another one in a leaf: it is agentsh, and no program of the agent's. */
static __always_inline void direct_is_launcher(struct task_struct *p)
{
	struct process_key key = process_of(p), parent = {};
	struct direct_exec *it = bpf_map_lookup_elem(&direct, &key);
	u64 now = bpf_ktime_get_boot_ns();

	if (!it)
		return;
	parent.started_ns = it->parent_started_ns;
	parent.pid = it->parent;
	/* Whatever becomes of the rest: maps may refuse to be changed while another CPU is at it. */
	it->is_launcher = 1;
	bpf_map_update_elem(&agents, &parent, &now, BPF_ANY);
	bpf_map_delete_elem(&direct, &key);
}

/*
 * The same, seen when what it has started becomes a program: the kernel leaves programs out that come while
 * another task has been interrupted in the same one. (Since Linux 7; what serve has moved was a program
 * before.)
 */
static __always_inline void direct_has_launcher(struct task_struct *p)
{
	struct process_key key = process_of(p);
	struct task_struct *parent = (void *)BPF_CORE_READ((struct task_struct___process *)p, real_parent);

	if (!bpf_map_lookup_elem(&direct, &key) &&
	    class_of(BPF_CORE_READ(parent, cgroups, dfl_cgrp)) == CLASS_AGENT)
		direct_is_launcher(parent);
}

static __always_inline void direct_ends(struct task_struct *p)
{
	struct process_key key = process_of(p);
	struct direct_exec *it = bpf_map_lookup_elem(&direct, &key);

	if (it)
		it->ended_ns = bpf_ktime_get_boot_ns();
}
