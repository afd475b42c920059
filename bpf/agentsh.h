/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs share with each other and, byte for byte, with src/helper/bpf/shared.rs: names, numbers,
 * the layout of map values. Times are nanoseconds, memory is pages unless said otherwise.
 */
#pragma once

/* Leaves are named "<class>-<number>"; the class's number is its place in src/class.rs. */
enum call_class {
	CLASS_TEST,
	CLASS_BUILD,
	CLASS_INSTALL,
	CLASS_RUN,
	CLASS_GIT,
	CLASS_EDIT,
	CLASS_EXPLORE,
	CLASS_OTHER,
	CLASS_COUNT,
	/* What is not a call: the agent's own processes, and every other cgroup of the machine. */
	CLASS_AGENT = CLASS_COUNT,
	CLASS_NONE,
	CLASS_SLOTS,
};

/* Cgroups that the scheduler tells apart; what comes after them counts as its parent. */
#define MAX_GROUPS 32768
/* Levels of cgroups that count; those below share their ancestor's group. */
#define MAX_DEPTH   12
#define MAX_CPUS    1024
#define NAME_LENGTH 16

/* What the policy and the operator say about scheduling; written by the helper, read at every decision. */
struct sched_params {
	/* The longest that a task runs while others wait. */
	u64 slice_ns;
	/* How much CPU a group that has slept may take ahead of its share, by class: what makes short calls
	 * short. */
	u64 credit_ns[CLASS_SLOTS];
};

/* How the scheduler ended. */
struct sched_exit {
	s64 code;
	u32 kind; /* enum scx_exit_kind; 0 while it runs */
	u32 unused;
	char reason[128];
	char message[256];
	char dump[16384];
};

/* One cgroup, as `agentsh-helper stats` reads it. */
struct group {
	u64 cgroup_id;
	/* Virtual time up to which the group has had its share: ns of CPU << 16 / share. */
	u64 vtime;
	/* CPU time of its tasks. */
	u64 cpu_ns;
	u32 parent;
	/* Told apart from those that had this place in the array before. */
	u32 generation;
	u32 weight; /* as cpu.weight: 1 to 10000, 100 by default */
	u32 class;  /* enum call_class */
	/* Runnable tasks. */
	s32 tasks;
	/* Those, and the children that are active. */
	s32 active;
	/* Of the children that are active. */
	s32 active_weight;
	/* What the parent's active_weight has of this. */
	u32 counted_weight;
	/* The group of the call that this is, or that it lies in; 0 if none. */
	u32 call;
	/* While that call lives: its place among the calls, and one more. */
	u32 place;
};

/* Calls that live at a time and count when memory is short; those beyond are neither held nor held for. No
 * session has all places, nor has any user but root. */
#define MAX_CALLS_WATCHED 256
#define MAX_OF_SESSION	  64
#define MAX_OF_USER	  128
/* Levels above a call whose limits count: all that a group can have, or whoever makes enough of them beneath
 * calls/ would be out of the pool's sight. */
#define HOLD_LEVELS (MAX_DEPTH - 1)

/* When calls are held: the policy's section `holding`, written by the helper into a pinned map, also while
 * the scheduler runs. Memory in pages, shares in thousandths. */
struct hold_params {
	/* What a call that gives way may take until it stands still. */
	u64 creep_pages;
	/* What one charge may take beyond that. */
	u64 chunk_pages;
	/* A hold ends when so much more than that is left. */
	u64 release_pages;
	/* A call that comes first may soon have so much more: of what it has now, or at least so much. */
	u64 growth_share;
	u64 least_pages;
	/* Of two of a kind, so much of what the older has is kept for it. */
	u64 equals_share;
	/* What a call hasn't had for so long, nor for a quarter of its life, it needs no more. */
	u64 recent_ns;
	/* A higher call that has slept for so long needs nothing. */
	u64 awake_ns;
	/* A held task has a turn after so long, and all have one in this time, by the policy and by the time
	 * after which the kernel would end the scheduler: what is less counts. */
	u64 wait_ns;
	u64 round_ns;
	u64 patience_ns;
	/* What is held is looked at so often. */
	u64 tick_ns;
	/* HOLD_OFF, HOLD_ON, HOLD_RECORD. */
	u64 mode;
};

#define HOLD_OFF 0
#define HOLD_ON	 1
/* Crossings are recorded and nothing is held: to compare with other means. */
#define HOLD_RECORD 2

/* All that holding has done since it was loaded. */
struct hold_totals {
	u64 holds;
	u64 held_ns;
	/* Turns given to tasks that waited, and tasks let go because they have to end or to freeze. */
	u64 turns;
	u64 must_run;
	/* Calls that have a place now, and that are held now; calls that found no place. */
	u64 calls;
	u64 now;
	u64 refused;
};

/* One hold, kept for those who measure. */
struct hold_episode {
	u64 cgroup_id;
	u64 began_ns; /* CLOCK_MONOTONIC */
	u64 ended_ns;
	/* When a task of the call last stopped running or charged in the first 100 ms. */
	u64 last_ran_ns;
	/* Charged after the beginning and within 100 ms of it: by the task that crossed, and by all others of
	 * the call. */
	u64 pages_crosser;
	u64 pages_others;
	u32 crosser;
	u32 unused;
};

#define MAX_EPISODES 1024

#define SESSION_NAME_LENGTH 64

/*
 * A call, or an agent, as `agentsh-helper stats` reads it: from when its cgroup got its first process until
 * it had none. Cgroups are used again and again; a call is known by the cgroup's id and when it began.
 */
struct call_stats {
	u64 cgroup_id;
	u64 session_id;
	u64 began_ns; /* CLOCK_BOOTTIME, as the generation in the log */
	u64 ended_ns; /* 0 while it lives */
	/* Processes started, programs executed, processes ended. */
	u64 forks;
	u64 execs;
	u64 exits;
	/* The fastest growth of its memory over GROWTH_WINDOW_NS, in bytes a second. */
	u64 fastest;
	/* Time that its tasks were kept waiting over memory.high. */
	u64 throttled_ns;
	/* Where the window began. */
	u64 window_ns;
	u64 window_pages;
	u32 class; /* enum call_class */
	char name[NAME_LENGTH];
	char session[SESSION_NAME_LENGTH];
	u32 unused;
};

#define GROWTH_WINDOW_NS 10000000ULL

struct call_key {
	u64 cgroup_id;
	u64 began_ns;
};

/* A process, told apart from those that had its pid before it; the pid is the first pid namespace's. */
struct process_key {
	u64 started_ns; /* CLOCK_BOOTTIME */
	u32 pid;
	u32 unused;
};

/* A program that an agent has started by itself, past the shell. */
struct direct_exec {
	u64 agent_id; /* of the cgroup */
	u64 session_id;
	/* CLOCK_BOOTTIME: when it became this program, and when it ended; 0 while it lives. */
	u64 began_ns;
	u64 ended_ns;
	u64 parent_started_ns;
	u32 parent;	 /* pid */
	u32 is_launcher; /* not 0: agentsh, which has started a call */
	char comm[16];
	char file[96]; /* as it was executed, cut */
};

/* Sessions whose memory the hooks look after, where the kernel has any (struct memcg_bpf_ops). */
#define MAX_MEMCG_SESSIONS 1024
/* Of sessions: low, normal, high. */
#define PRIORITIES 3

/* Written by the helper. Amounts are pages. */
struct memcg_params {
	/* The longest that 64 pages are waited for. */
	u32 most_ms;
	/* Who took memory so recently may take more. */
	u32 recent_ms;
	/* What may creep in meanwhile. */
	u64 cushion;
	/* The machine's. */
	u64 total;
};

struct memcg_session {
	/* Written by the helper: the cgroup's id of agent/, what of that is never reclaimed, the most that
	 * the session may have, and its priority, from 0. */
	u64 agent_id;
	u64 reserve;
	u64 ceiling;
	u32 priority;
	u32 unused;
	/* When it last took memory (CLOCK_MONOTONIC), what it had then, and the most that it lately had. */
	u64 charged_ns;
	u64 usage;
	u64 peak;
	/* How often it was made to wait, and for how long; how often it was passed over when memory was
	 * reclaimed. */
	u64 delays;
	u64 delayed_ms;
	u64 kept_low;
	u64 kept_min;
};
