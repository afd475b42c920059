/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Faults that the tests inject, to see that the kernel and everybody's tasks survive them. Without `faults`,
 * which only a hidden option of the loader sets, the verifier drops all of this.
 */
#pragma once
#include "kernel.h"
#include "names.h"

const volatile bool faults = false;

/* From when a task named so has come until the kernel ends the scheduler, no program's task is queued at all.
 */
#define STALLS "agentsh-stall"
/* One named so makes the scheduler give up. */
#define ABORTS "agentsh-abort"

bool fault_stalls;

static __always_inline bool is_lost(struct task_struct *p)
{
	static char message[] = "a test asked for it";
	unsigned long long none = 0;
	char comm[16] = {};

	if (!faults || p->flags & PF_KTHREAD)
		return false;
	bpf_probe_read_kernel_str(comm, sizeof(comm), p->comm);
	if (BEGINS(comm, STALLS))
		fault_stalls = true;
	if (BEGINS(comm, ABORTS))
		scx_bpf_error_bstr(message, &none, sizeof(none));
	return fault_stalls;
}
