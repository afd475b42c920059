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

/* PAGE_COUNTER_MAX and whatever else is more than any machine has. */
#define NO_LIMIT (1ULL << 50)
/* In memcg_vmstats.state, which begins with the lists of pages in the order of enum lru_list
 * (mm/memcontrol.c). */
#define INACTIVE_FILE 2
#define ACTIVE_FILE   3
/* What a leaf's number says of its call (src/cgroup/depends.rs): that it is never held; or, before its last
 * nine digits, which classes' calls it needs. */
#define NEVER_HELD 100000000000000ULL
#define DEPENDS	   1000000000000ULL
#define BITS	   1000000000ULL

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
	/* Its leaf, the session that it is of, and the outermost one that this lies in. */
	u32 group, session_group, outermost;
	/* The process that it ends with, and whose it is. */
	u32 main, owner;
	/* Not 0: somebody has this place, or is about to. */
	u32 taken;
	u32 never_held;
	u32 episode; /* its place in the map, and one more */
	/* When it began: other calls that lived, of its outermost session and of its owner. */
	u32 of_session, of_owner;
	/* What it had at most and at least, in pages: in the present span of time, and in the one before. */
	u64 span_began;
	u64 most, least, most_before, least_before;
	/* A bit for each class whose calls of this session it needs. */
	u32 depends;
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
/* Has any call ever needed others? */
bool any_depends;
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

/* Notes what the leaf's number says. */
static __always_inline void read_number(struct cgroup *cgrp, struct live_call *call)
{
	char name[32] = {};
	u64 number = 0;

	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(cgrp, kn, name));
	for (int i = 0; i < (int)sizeof(name); i++) {
		u64 digit = (u64)name[i] - '0';

		number = digit < 10 ? number * 10 + digit : name[i] ? 0 : number;
	}
	call->never_held = number >= NEVER_HELD;
	call->depends = number >= DEPENDS ? number / BITS % 1000 : 0;
	if (call->depends)
		any_depends = true;
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

/* Takes a place for a call of this outermost session and user, unless they have enough: 0 if there is none.
 */
static __noinline u32 take_place(u32 outermost, u32 owner)
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
		if (call->outermost == outermost)
			mine->of_session++;
		if (owner && call->owner == owner)
			mine->of_owner++;
	}
	if (mine->of_session < MAX_OF_SESSION && mine->of_owner < MAX_OF_USER)
		return place;
	__sync_lock_test_and_set(&mine->taken, 0);
	return 0;
}

/* Who comes first: by the outermost session's weight, then by the class in the leaf's name; of equals the
 * older. Not by the call's own weight, nor by that of a session in between, which a session's owner may
 * write. */
static __always_inline enum precedence precedence(struct live_call *a, struct live_call *b)
{
	struct group *of_a = group_at(a->outermost), *of_b = group_at(b->outermost);
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

/* So many thousandths of so many pages; more than a machine's are taken for that many. */
static __always_inline u64 share_of(u64 pages, u64 share)
{
	return pages < NO_LIMIT ? pages * share / 1000 : NO_LIMIT;
}

/* Does one need the other? */
static __always_inline bool needs(struct live_call *one, struct live_call *other)
{
	struct group *of_one = group_at(one->group), *of_other = group_at(other->group);

	return one->depends && one->cgroup_id && one->session_group == other->session_group && of_one &&
	       of_other && of_other->class < CLASS_COUNT && of_one->class != of_other->class &&
	       one->depends & 1U << of_other->class;
}

/* Whose standing a call has: its own, or that of the first of those that need it. */
static __always_inline u32 stand_in(u32 place)
{
	u32 other, best = place;

	if (!any_depends)
		return place;
	bpf_for (other, 1, calls_most + 1) {
		struct live_call *it = call_at(other), *me = call_at(place), *so_far = call_at(best);

		if (it && me && so_far && other != place && needs(it, me) &&
		    precedence(it, so_far) != COMES_AFTER)
			best = other;
	}
	return best;
}

/* Notes what a call has: src/cgroup/recent.rs. Two spans are the last quarter of its life. Whoever comes in
 * between may lose one look. */
static __always_inline void note_usage(struct live_call *call, struct hold_params *param, u64 pages)
{
	u64 now = bpf_ktime_get_ns(), span = param->recent_ns / 2, eighth = (now - call->began_ns) / 8;

	if (now - call->span_began >= (span > eighth ? span : eighth)) {
		call->span_began = now;
		call->most_before = call->most;
		call->least_before = call->least;
		call->most = pages;
		call->least = pages;
	}
	if (call->most < pages)
		call->most = pages;
	if (call->least > pages)
		call->least = pages;
}

/* What a call may still take of a level: up to the most that it lately had, or so much more of what it has as
 * the policy says if it lately rose by as much, but not beyond any limit on the way. Nothing if the level
 * isn't above it, or if it has been asleep. */
__noinline u64 may_take(u32 place, u64 level, u64 awake_since)
{
	struct live_call *call = call_at(place);
	struct group *group = call ? group_at(call->group) : 0;
	struct hold_params *param = holding();
	u64 now, peak, least, more, limit, growth;

	if (!call || !group || !param || (group->active <= 0 && call->slept_ns < awake_since))
		return 0;
	now = usage_of(call->memcg);
	note_usage(call, param, now);
	peak = call->most > call->most_before ? call->most : call->most_before;
	least = call->least < call->least_before ? call->least : call->least_before;
	limit = limit_of(call->memcg);
	more = peak > now ? peak - now : 0;
	growth = share_of(now, param->growth_share);
	if (growth > peak - least)
		growth = peak - least;
	if (more < growth)
		more = growth;
	if (more < param->least_pages)
		more = param->least_pages;
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
	struct hold_params *param = holding();
	u64 little;

	if (!param)
		return 0;
	little = share_of(usage_of(call->memcg), param->equals_share);
	return little > param->least_pages ? little : param->least_pages;
}

/* Does what is left at a level no longer cover what those may take who come before this call, that has the
 * standing of `as`? */
__noinline int is_short_at(u32 place, u32 as, u64 level, u64 spare, u64 awake_since)
{
	struct live_call *me = call_at(place), *standing = call_at(as);
	u64 room = room_of(level), need = 0, more;
	enum precedence first;
	u32 other;

	if (!me || !standing || room >= NO_LIMIT)
		return 0;
	bpf_for (other, 1, calls_most + 1) {
		struct live_call *it = call_at(other);

		if (!it || other == place || !it->cgroup_id)
			continue;
		first = precedence(it, standing);
		if (any_depends && needs(it, me))
			first = COMES_AFTER;
		else if (any_depends && needs(me, it))
			first = COMES_FIRST;
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
	u32 n, as;

	if (!param || !me)
		return 0;
	as = stand_in(place);
	spare = param->creep_pages + param->chunk_pages + more_spare;
	since = bpf_ktime_get_ns() - param->awake_ns;
	for (n = 0; n < HOLD_LEVELS; n++)
		if (me->above[n] && is_short_at(place, as, me->above[n], spare, since))
			return 1;
	return 0;
}
