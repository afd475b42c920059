/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory hooks, for kernels with struct memcg_bpf_ops (a patch series, in no released kernel yet): what
 * belongs to agents and to sessions of high priority is reclaimed last, and what sessions of lower priority
 * take more of comes slowly as long as those above them may need it.
 *
 * The interface has two generations. Both are here, the loader keeps the one whose members the kernel's BTF
 * has. Where it has neither, nothing of this is loaded. One link for each session: its cgroups inherit it.
 */
#include "kernel.h"
#include "agentsh.h"
#include "delay.h"

char _license[] SEC("license") = "GPL";

/* From a leaf's child, through leaf and calls, to the session; programs may make some more below. */
#define LEVELS 8
/* What those that go first may take is counted anew so often. */
#define TALLY_NS 5000000ULL

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct page_counter___limit {
	atomic_long_t usage;
	unsigned long max;
};

struct mem_cgroup___limit {
	struct cgroup_subsys_state css;
	struct page_counter___limit memory;
};

#pragma clang attribute pop

/* The sessions that the hooks are attached to, by their cgroup's id. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_MEMCG_SESSIONS);
	__type(key, u64);
	__type(value, struct memcg_session);
} memcg_sessions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct memcg_params);
} memcg_params SEC(".maps");

/* What the sessions of each priority may still take, and how many have taken something lately. */
struct tally {
	u64 at_ns;
	u64 recent_ns;
	u64 growth;
	u64 need[PRIORITIES];
	u64 active;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct tally);
} memcg_tally SEC(".maps");

/* Where in a session a cgroup is. */
struct place {
	struct memcg_session *session;
	struct mem_cgroup *memcg; /* the session's */
	struct mem_cgroup *part;  /* agent/ or calls/; none for the session itself */
	bool is_agent;
};

static __always_inline struct mem_cgroup *parent_of(struct mem_cgroup *memcg)
{
	struct cgroup_subsys_state *parent = BPF_CORE_READ(memcg, css.parent);

	return parent ? (void *)parent - bpf_core_field_offset(struct mem_cgroup, css) : 0;
}

static __always_inline u64 usage_of(struct mem_cgroup *memcg)
{
	return BPF_CORE_READ(memcg, memory.usage.counter);
}

static __always_inline bool find(struct mem_cgroup *memcg, struct place *place)
{
	u64 below = 0;

	place->part = 0;
	for (int level = 0; level < LEVELS; level++) {
		u64 id;

		if (!memcg)
			return false;
		id = BPF_CORE_READ(memcg, css.cgroup, kn, id);
		place->session = bpf_map_lookup_elem(&memcg_sessions, &id);
		if (place->session) {
			place->memcg = memcg;
			place->is_agent = below && below == place->session->agent_id;
			return true;
		}
		below = id;
		place->part = memcg;
		memcg = parent_of(memcg);
	}
	return false;
}

static __always_inline struct memcg_params *params(void)
{
	u32 first = 0;

	return bpf_map_lookup_elem(&memcg_params, &first);
}

/*
 * A session that takes memory may soon have as much as it lately had, or a quarter more than now and some
 * room; but no more than its calls' budget and its agent's reserve allow.
 */
static long add_need(void *map, u64 *id, struct memcg_session *session, struct tally *tally)
{
	u64 soon = session->usage + session->usage / 4 + tally->growth;
	u32 priority = session->priority;

	if (tally->at_ns - session->charged_ns > tally->recent_ns || priority >= PRIORITIES)
		return 0;
	if (soon < session->peak)
		soon = session->peak;
	if (soon > session->ceiling)
		soon = session->ceiling;
	if (soon > session->usage)
		tally->need[priority] += soon - session->usage;
	tally->active++;
	return 0;
}

/* The tally as it is now, or was a moment ago. Two at once count the same. */
static __always_inline struct tally *tally_at(u64 now, const struct memcg_params *param)
{
	u32 first = 0;
	struct tally *tally = bpf_map_lookup_elem(&memcg_tally, &first);
	struct tally fresh = {
		.at_ns = now,
		.recent_ns = param->recent_ms * 1000000ULL,
		.growth = param->cushion,
	};

	if (!tally || now - tally->at_ns < TALLY_NS)
		return tally;
	bpf_for_each_map_elem(&memcg_sessions, add_need, &fresh, 0);
	*tally = fresh;
	return tally;
}

static __always_inline void note_charge(struct place *it, u64 now, const struct memcg_params *param)
{
	struct memcg_session *session = it->session;
	u64 usage = usage_of(it->memcg);

	if (now - session->charged_ns > param->recent_ms * 1000000ULL)
		session->peak = 0;
	session->charged_ns = now;
	session->usage = usage;
	if (session->peak < usage)
		session->peak = usage;
}

/* Somebody takes memory: for how many ms shall it be made to wait? */
static __always_inline u32 charged(struct mem_cgroup *memcg)
{
	struct memcg_params *param = params();
	u64 now = bpf_ktime_get_ns(), limit, used;
	struct squeeze squeeze = {};
	struct mem_cgroup *pool;
	struct tally *tally;
	struct place it;
	u32 ms;

	if (!param || !find(memcg, &it))
		return 0;
	note_charge(&it, now, param);
	/* The agent waits for nobody, and who is above all others neither. */
	if (it.is_agent || it.session->priority >= PRIORITIES - 1)
		return 0;
	tally = tally_at(now, param);
	pool = parent_of(it.memcg);
	if (!tally || !pool)
		return 0;
	for (u32 above = 1; above < PRIORITIES; above++)
		if (above > it.session->priority)
			squeeze.need += tally->need[above];
	limit = BPF_CORE_READ((struct mem_cgroup___limit *)pool, memory.max);
	if (limit > param->total)
		limit = param->total;
	used = usage_of(pool);
	squeeze.room = limit > used ? limit - used : 0;
	squeeze.usage = it.session->usage;
	squeeze.share = limit / (tally->active ? tally->active : 1);
	squeeze.cushion = param->cushion;
	squeeze.most_ms = param->most_ms;
	ms = delay_ms(&squeeze);
	if (ms) {
		__sync_fetch_and_add(&it.session->delays, 1);
		__sync_fetch_and_add(&it.session->delayed_ms, ms);
	}
	return ms;
}

/*
 * Is this cgroup passed over as long as there is something else to reclaim? (The kernel comes back when there
 * isn't.)
 */
static __always_inline bool is_kept(struct mem_cgroup *memcg)
{
	struct place it;

	if (!find(memcg, &it))
		return false;
	if (!it.is_agent && it.session->priority < PRIORITIES - 1)
		return false;
	__sync_fetch_and_add(&it.session->kept_low, 1);
	return true;
}

/* Is it passed over whatever comes? Then, with nothing else left, somebody is killed instead. */
static __always_inline bool is_kept_always(struct mem_cgroup *memcg)
{
	struct place it;

	if (!find(memcg, &it) || !it.is_agent || !it.part || usage_of(it.part) > it.session->reserve)
		return false;
	__sync_fetch_and_add(&it.session->kept_min, 1);
	return true;
}

/* Up to the sixth version of the series. */
SEC("struct_ops/below_low")
int BPF_PROG(v6_below_low, struct mem_cgroup *memcg)
{
	return is_kept(memcg);
}

SEC("struct_ops/below_min")
int BPF_PROG(v6_below_min, struct mem_cgroup *memcg)
{
	return is_kept_always(memcg);
}

SEC("struct_ops/get_high_delay_ms")
int BPF_PROG(v6_high_delay, struct mem_cgroup *memcg)
{
	return charged(memcg);
}

/* The seventh. */
SEC("struct_ops/below_low")
int BPF_PROG(v7_below_low, struct mem_cgroup *memcg, unsigned long elow, unsigned long usage)
{
	return is_kept(memcg);
}

SEC("struct_ops/below_min")
int BPF_PROG(v7_below_min, struct mem_cgroup *memcg, unsigned long emin, unsigned long usage)
{
	return is_kept_always(memcg);
}

SEC("struct_ops/memcg_charged")
int BPF_PROG(v7_charged, struct mem_cgroup *memcg, unsigned int nr_pages)
{
	return charged(memcg);
}

/* The members that are set: as the kernel's struct memcg_bpf_ops, which libbpf finds by what is before the
 * three underscores. */
struct memcg_bpf_ops___v6 {
	bool (*below_low)(struct mem_cgroup *memcg);
	bool (*below_min)(struct mem_cgroup *memcg);
	unsigned int (*get_high_delay_ms)(struct mem_cgroup *memcg);
};

struct memcg_bpf_ops___v7 {
	bool (*below_low)(struct mem_cgroup *memcg, unsigned long elow, unsigned long usage);
	bool (*below_min)(struct mem_cgroup *memcg, unsigned long emin, unsigned long usage);
	unsigned int (*memcg_charged)(struct mem_cgroup *memcg, unsigned int nr_pages);
};

SEC(".struct_ops.link")
struct memcg_bpf_ops___v6 agentsh_v6 = {
	.below_low = (void *)v6_below_low,
	.below_min = (void *)v6_below_min,
	.get_high_delay_ms = (void *)v6_high_delay,
};

SEC(".struct_ops.link")
struct memcg_bpf_ops___v7 agentsh_v7 = {
	.below_low = (void *)v7_below_low,
	.below_min = (void *)v7_below_min,
	.memcg_charged = (void *)v7_charged,
};

/*
 * A rehearsal, on any kernel: the same decisions at every charge, counted and not obeyed. For tests: it shows
 * that the verifier takes them, and what they would be.
 */
SEC("?fentry/try_charge_memcg")
int BPF_PROG(rehearse, struct mem_cgroup *memcg)
{
	charged(memcg);
	is_kept(memcg);
	is_kept_always(memcg);
	return 0;
}
