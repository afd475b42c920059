/* SPDX-License-Identifier: GPL-2.0-only */
/* How the scheduler ended, kept for `agentsh-helper status` in a map that outlives it. */
#pragma once
#include "kernel.h"
#include "agentsh.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct sched_exit);
} sched_exit SEC(".maps");

static __always_inline void record_exit(struct scx_exit_info *info)
{
	u32 first = 0;
	struct sched_exit *record = bpf_map_lookup_elem(&sched_exit, &first);

	if (!record)
		return;
	bpf_probe_read_kernel_str(record->reason, sizeof(record->reason), BPF_CORE_READ(info, reason));
	bpf_probe_read_kernel_str(record->message, sizeof(record->message), BPF_CORE_READ(info, msg));
	bpf_probe_read_kernel_str(record->dump, sizeof(record->dump), BPF_CORE_READ(info, dump));
	record->code = BPF_CORE_READ(info, exit_code);
	/* Last, as this is what says that there is a record; the atomic keeps the order. */
	__sync_lock_test_and_set(&record->kind, BPF_CORE_READ(info, kind));
}
