/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The calls that live, and who of them comes first when memory is short: the same law as in
 * src/cgroup/peers.rs, but over all sessions below a limit.
 *
 * A call lives from when its first process came into its empty leaf until that process ends; what it leaves
 * behind then is nobody's call any more.
 */
#pragma once
#include "tags.h"

#define PAGE_SHIFT 12
#define MIB(n)	   ((u64)(n) << (20 - PAGE_SHIFT))
/* PAGE_COUNTER_MAX and whatever else is more than any machine has. */
#define NO_LIMIT (1ULL << 50)
/* In memcg_vmstats.state, which begins with the lists of pages in the order of enum lru_list
 * (mm/memcontrol.c). */
#define INACTIVE_FILE 2
#define ACTIVE_FILE   3
/* A leaf with a longer name, its end counted, is one of a call that is never held: src/cgroup/claim.rs gives
 * it a number of 15 digits; all others have 8 at most. */
#define NAME_MOST (int)sizeof("explore-12345678")

/* Of two of a kind, so much of what the older has is kept for it: as in src/cgroup/peers.rs. */
#define EQUALS_SHARE 8

enum precedence { COMES_AFTER, IS_OLDER, COMES_FIRST };

struct live_call {
	u64 cgroup_id; /* 0: none lives here */
	u64 began_ns;
	/* When the last of its tasks fell asleep. */
	u64 slept_ns;
	/* 0 while it isn't held. */
	u64 held_since;
	/* struct mem_cgroup: its own, and those above it, the nearest first. */
	u64 memcg;
	u64 above[HOLD_LEVELS];
	u32 group, session_group;
	/* The process that it ends with, and whose it is. */
	u32 main, owner;
	/* Not 0: somebody has this place, or is about to. */
	u32 taken;
	u32 never_held;
	u32 episode; /* its place in the map, and one more */
	/* When it began: other calls that lived, of its session and of its owner. */
	u32 of_session, of_owner;
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_CALLS_WATCHED);
	__type(key, u32);
	__type(value, struct live_call);
} live_calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct hold_params);
} hold_params SEC(".maps");

/* Places below this one have been used. */
u32 calls_most;
/* Where the kernel has the memory controller in struct cgroup. */
const volatile u32 memory_cgrp_id;
/* Which class's calls come first: Class::rank. */
const volatile u32 class_ranks[CLASS_COUNT];

static __always_inline struct live_call *call_at(u32 place)
{
	u32 index = place - 1;

	return place ? bpf_map_lookup_elem(&live_calls, &index) : 0;
}

static __always_inline struct hold_params *holding(void)
{
	u32 first = 0;

	return bpf_map_lookup_elem(&hold_params, &first);
}

static __always_inline u64 memcg_of(struct cgroup *cgrp)
{
	void *place = (void *)cgrp + bpf_core_field_offset(struct cgroup, subsys) + 8 * memory_cgrp_id;
	u64 css = 0;

	bpf_probe_read_kernel(&css, sizeof(css), place);
	return css ? css - bpf_core_field_offset(struct mem_cgroup, css) : 0;
}

static __always_inline u64 parent_of(u64 memcg)
{
	u64 css = (u64)BPF_CORE_READ((struct mem_cgroup *)memcg, css.parent);

	return css ? css - bpf_core_field_offset(struct mem_cgroup, css) : 0;
}

static __always_inline u64 usage_of(u64 memcg)
{
	return BPF_CORE_READ((struct mem_cgroup *)memcg, memory.usage.counter);
}

/* The most it ever was. */
static __always_inline u64 peak_of(u64 memcg)
{
	return BPF_CORE_READ((struct mem_cgroup *)memcg, memory.watermark);
}

static __always_inline u64 limit_of(u64 memcg)
{
	return BPF_CORE_READ((struct mem_cgroup *)memcg, memory.max);
}

/* Page cache that the kernel can drop without hurting much. Its figure is as old as the last flush of the
 * statistics: launchers read memory.stat, which flushes it, while room is scarce. */
static __always_inline u64 droppable(u64 memcg)
{
	struct memcg_vmstats *stats = BPF_CORE_READ((struct mem_cgroup *)memcg, vmstats);
	s64 inactive = BPF_CORE_READ(stats, state[INACTIVE_FILE]),
	    active = BPF_CORE_READ(stats, state[ACTIVE_FILE]);

	return (inactive > 0 ? (u64)inactive : 0) + (active > 0 ? (u64)active >> 1 : 0);
}

/* What is left below a level's limit; everything if it has none, or isn't half full. */
__noinline u64 room_of(u64 memcg)
{
	u64 limit = limit_of(memcg), usage = usage_of(memcg), file;

	if (limit >= NO_LIMIT || usage < limit / 2)
		return NO_LIMIT;
	file = droppable(memcg);
	usage = usage > file ? usage - file : 0;
	return limit > usage ? limit - usage : 0;
}

static __always_inline bool is_never_held(struct cgroup *cgrp)
{
	char name[32];

	return bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(cgrp, kn, name)) > NAME_MOST;
}

/* The live call that a task is in, if any. */
static __always_inline struct live_call *call_of(struct task_data *task, u32 *place)
{
	struct group *group = group_of(task), *leaf;
	struct live_call *call;

	if (!group || !group->call)
		return 0;
	leaf = group_at(group->call);
	*place = leaf ? leaf->place : 0;
	call = call_at(*place);
	/* Places are given on: it must be this leaf's. */
	return call && leaf && call->cgroup_id == leaf->cgroup_id ? call : 0;
}

/* Takes a place for a call of this session and user, unless they have enough: 0 if there is none. */
static __noinline u32 take_place(u32 session, u32 owner)
{
	struct live_call *mine = 0;
	u32 i, n, place = 0;

	bpf_for (i, 0, MAX_CALLS_WATCHED) {
		mine = bpf_map_lookup_elem(&live_calls, &i);
		if (!mine || mine->taken || __sync_val_compare_and_swap(&mine->taken, 0, 1))
			continue;
		place = i + 1;
		break;
	}
	mine = call_at(place);
	if (!mine)
		return 0;
	/* It only grows: whoever comes in between has made it larger. */
	bpf_for (n, 0, MAX_CALLS_WATCHED) {
		u32 most = calls_most;

		if (most >= place || __sync_val_compare_and_swap(&calls_most, most, place) == most)
			break;
	}
	mine->of_session = 0;
	mine->of_owner = 0;
	bpf_for (i, 0, calls_most) {
		struct live_call *call = bpf_map_lookup_elem(&live_calls, &i);

		if (!call || !call->cgroup_id)
			continue;
		/* Counted in the map: the verifier follows every value that a variable can have. */
		if (call->session_group == session)
			mine->of_session++;
		if (owner && call->owner == owner)
			mine->of_owner++;
	}
	if (mine->of_session < MAX_OF_SESSION && mine->of_owner < MAX_OF_USER)
		return place;
	__sync_lock_test_and_set(&mine->taken, 0);
	return 0;
}

/* Who comes first: by the session's weight, then by the class in the leaf's name; of equals the older. Not by
 * the call's own weight, which a session's owner may write. */
static __always_inline enum precedence precedence(struct live_call *a, struct live_call *b)
{
	struct group *of_a = group_at(a->session_group), *of_b = group_at(b->session_group);
	u32 rank_a, rank_b;

	if (!of_a || !of_b)
		return COMES_AFTER;
	if (of_a->weight != of_b->weight)
		return of_a->weight > of_b->weight ? COMES_FIRST : COMES_AFTER;
	of_a = group_at(a->group);
	of_b = group_at(b->group);
	if (!of_a || !of_b || of_a->class >= CLASS_COUNT || of_b->class >= CLASS_COUNT)
		return COMES_AFTER;
	rank_a = class_ranks[of_a->class];
	rank_b = class_ranks[of_b->class];
	if (rank_a != rank_b)
		return rank_a > rank_b ? COMES_FIRST : COMES_AFTER;
	return a->began_ns < b->began_ns ? IS_OLDER : COMES_AFTER;
}

/* What a call may still take of a level: up to the most that its leaf ever had, or half as much again as it
 * has, but not beyond any limit on the way. Nothing if the level isn't above it, or if it has been asleep. */
__noinline u64 may_take(u32 place, u64 level, u64 awake_since)
{
	struct live_call *call = call_at(place);
	struct group *group = call ? group_at(call->group) : 0;
	u64 now, peak, more, limit;

	if (!call || !group || (group->active <= 0 && call->slept_ns < awake_since))
		return 0;
	now = usage_of(call->memcg);
	peak = peak_of(call->memcg);
	limit = limit_of(call->memcg);
	more = peak > now ? peak - now : 0;
	if (more < now / 2)
		more = now / 2;
	if (more < MIB(16))
		more = MIB(16);
	limit = limit > now ? limit - now : 0;
	if (more > limit)
		more = limit;
	for (int n = 0; n < HOLD_LEVELS; n++) {
		u64 it = call->above[n], left;

		if (!it)
			return 0;
		if (it == level)
			return more;
		left = room_of(it);
		if (left < more)
			more = left;
	}
	return 0;
}

/* What is kept for the older of two of a kind: if each kept room for all of the other's growth, they would
 * mostly wait for each other. */
static __always_inline u64 little_of(struct live_call *call)
{
	u64 little = usage_of(call->memcg) / EQUALS_SHARE;

	return little > MIB(16) ? little : MIB(16);
}

/* Does what is left at a level no longer cover what those may take who come before this call? */
__noinline int is_short_at(u32 place, u64 level, u64 spare, u64 awake_since)
{
	u64 room = room_of(level), need = 0, more;
	struct live_call *me = call_at(place);
	enum precedence first;
	u32 other;

	if (!me || room >= NO_LIMIT)
		return 0;
	bpf_for (other, 1, calls_most + 1) {
		struct live_call *it = call_at(other);

		if (!it || other == place || !it->cgroup_id)
			continue;
		first = precedence(it, me);
		if (first == COMES_AFTER)
			continue;
		more = may_take(other, level, awake_since);
		if (first == IS_OLDER && more > little_of(it))
			more = little_of(it);
		need += more;
	}
	return need && room < need + spare;
}

/* Must this call give way, with so much more to spare than must be? */
__noinline int is_short(u32 place, u64 more_spare)
{
	struct hold_params *param = holding();
	struct live_call *me = call_at(place);
	u64 spare, since;
	u32 n;

	if (!param || !me)
		return 0;
	spare = param->creep_pages + param->chunk_pages + more_spare;
	since = bpf_ktime_get_ns() - param->awake_ns;
	for (n = 0; n < HOLD_LEVELS; n++)
		if (me->above[n] && is_short_at(place, me->above[n], spare, since))
			return 1;
	return 0;
}
