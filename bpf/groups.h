/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tree of cgroups: weights, who in it is active, and the share of the machine that follows from both.
 *
 * Groups live in an array, so that a task needs only an index for all that is asked at every switch. Index 0
 * is the root, and stands in for whatever found no place.
 */
#pragma once
#include "kernel.h"
#include "agentsh.h"
#include "names.h"

/* A share of 1, everything: 16 bits behind the point. */
#define WHOLE (1ULL << 16)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_GROUPS);
	__type(key, u32);
	__type(value, struct group);
} groups SEC(".maps");

/* The index of a cgroup's group, by the cgroup's id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_GROUPS);
	__type(key, u64);
	__type(value, u32);
} group_index SEC(".maps");

/* Indices given back. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, MAX_GROUPS);
	__uint(value_size, sizeof(u32));
} free_groups SEC(".maps");

/* As many as the maps have places for. */
const volatile u32 max_groups = MAX_GROUPS;
/* The first index that was never used; 0 is the root's. */
u32 first_unused = 1;
/* Cgroups that found no place. */
u64 groups_refused;

static __always_inline struct group *group_at(u32 index)
{
	return bpf_map_lookup_elem(&groups, &index);
}

static __always_inline u32 index_of(u64 cgroup_id)
{
	u32 *index = bpf_map_lookup_elem(&group_index, &cgroup_id);

	return index ? *index : 0;
}

/* The call that a group is or lies in. */
static __always_inline u32 call_in(struct group *group, u32 index, u32 parent)
{
	struct group *above = group_at(parent);

	if (group->class < CLASS_COUNT)
		return index;
	return above && index ? above->call : 0;
}

/* Gives a cgroup its group. One that finds no place is told apart from its parent no more. */
static __always_inline void group_add(struct cgroup *cgrp, u32 weight)
{
	u64 id = BPF_CORE_READ(cgrp, kn, id);
	u64 parent_id = BPF_CORE_READ(cgrp, self.parent, cgroup, kn, id);
	int level = BPF_CORE_READ(cgrp, level);
	u32 parent = index_of(parent_id), index;
	struct group *group;

	if (level == 0) {
		index = 0;
	} else if (level >= MAX_DEPTH) {
		index = parent;
	} else if (bpf_map_pop_elem(&free_groups, &index)) {
		index = __sync_fetch_and_add(&first_unused, 1);
		if (index >= max_groups) {
			__sync_fetch_and_sub(&first_unused, 1);
			__sync_fetch_and_add(&groups_refused, 1);
			index = parent;
		}
	}
	if (bpf_map_update_elem(&group_index, &id, &index, BPF_ANY)) {
		if (index && index != parent)
			bpf_map_push_elem(&free_groups, &index, BPF_ANY);
		return;
	}
	group = group_at(index);
	if (!group || (index && index == parent))
		return;
	group->generation++;
	group->cgroup_id = id;
	group->parent = parent;
	group->weight = weight ? weight : 100;
	group->class = class_of(cgrp);
	group->call = call_in(group, index, parent);
	group->place = 0;
	group->vtime = 0;
	group->cpu_ns = 0;
	group->tasks = 0;
	group->active = 0;
	group->active_weight = 0;
}

static __always_inline void group_remove(struct cgroup *cgrp)
{
	u64 id = BPF_CORE_READ(cgrp, kn, id);
	u32 index = index_of(id);
	struct group *group = group_at(index);

	bpf_map_delete_elem(&group_index, &id);
	if (!group || !index || group->cgroup_id != id)
		return;
	group->generation++;
	bpf_map_push_elem(&free_groups, &index, BPF_ANY);
}

/*
 * Counts one more or one less runnable task or active child, and goes up as long as that makes a group active
 * or idle. Additions commute, so that without a lock the sums are right as soon as those who add are done.
 */
static void group_activate(u32 index)
{
	for (int level = 0; level < MAX_DEPTH; level++) {
		struct group *group = group_at(index), *parent;

		if (!group || __sync_fetch_and_add(&group->active, 1) != 0 || !index)
			return;
		group->counted_weight = group->weight;
		parent = group_at(group->parent);
		if (!parent)
			return;
		__sync_fetch_and_add(&parent->active_weight, group->counted_weight);
		index = group->parent;
	}
}

static void group_deactivate(u32 index)
{
	for (int level = 0; level < MAX_DEPTH; level++) {
		struct group *group = group_at(index), *parent;

		if (!group || __sync_fetch_and_add(&group->active, -1) != 1 || !index)
			return;
		parent = group_at(group->parent);
		if (!parent)
			return;
		__sync_fetch_and_add(&parent->active_weight, -(s32)group->counted_weight);
		index = group->parent;
	}
}

static __always_inline void group_reweigh(u32 index, u32 weight)
{
	struct group *group = group_at(index), *parent;

	if (!group || !index)
		return;
	group->weight = weight;
	if (group->active <= 0)
		return;
	parent = group_at(group->parent);
	if (parent)
		__sync_fetch_and_add(&parent->active_weight, (s32)weight - (s32)group->counted_weight);
	group->counted_weight = weight;
}

/*
 * The share of the machine that a group's own tasks have while those are active that are: of WHOLE, and at
 * least 1. Tasks beside groups, as in the root, weigh as one group of the usual weight each.
 */
static u64 group_share(u32 index)
{
	struct group *group = group_at(index);
	u64 share = WHOLE;

	if (group && group->active_weight > 0) {
		u64 own = 100 * (group->tasks > 0 ? group->tasks : 1);

		share = share * own / (own + group->active_weight);
	}
	for (int level = 0; level < MAX_DEPTH && index && group; level++) {
		struct group *parent = group_at(group->parent);
		s64 all;

		if (!parent)
			break;
		all = parent->active_weight + (parent->tasks > 0 ? 100 * (s64)parent->tasks : 0);
		if (all < group->weight)
			all = group->weight;
		share = share * group->weight / all;
		index = group->parent;
		group = parent;
	}
	return share ? share : 1;
}
