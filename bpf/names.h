/* SPDX-License-Identifier: GPL-2.0-only */
/* What a cgroup is, read from its name and its parent's: the names are the interface to the launcher. */
#pragma once
#include "kernel.h"
#include "agentsh.h"

static __always_inline bool starts(const char *name, const char *with, int length)
{
	for (int i = 0; i < length; i++)
		if (name[i] != with[i])
			return false;
	return true;
}

/* Literals only: their size counts the dash, and not the end. */
#define NAMED(name, text)  starts(name, text, sizeof(text))
#define BEGINS(name, text) starts(name, text, sizeof(text) - 1)

static __always_inline u32 class_by_name(const char *name)
{
	if (BEGINS(name, "test-"))
		return CLASS_TEST;
	if (BEGINS(name, "build-"))
		return CLASS_BUILD;
	if (BEGINS(name, "install-"))
		return CLASS_INSTALL;
	if (BEGINS(name, "run-"))
		return CLASS_RUN;
	if (BEGINS(name, "git-"))
		return CLASS_GIT;
	if (BEGINS(name, "edit-"))
		return CLASS_EDIT;
	if (BEGINS(name, "explore-"))
		return CLASS_EXPLORE;
	return CLASS_OTHER;
}

/* A call is what lies in a cgroup named calls; the agent's own processes are beside that, in one named agent.
 * The session of an agent that a call has started lies among the calls, as agent-N, and is none itself. */
static __always_inline u32 class_of(struct cgroup *cgrp)
{
	char name[NAME_LENGTH] = {}, parent[NAME_LENGTH] = {};

	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(cgrp, kn, name));
	bpf_probe_read_kernel_str(parent, sizeof(parent), BPF_CORE_READ(cgrp, self.parent, cgroup, kn, name));
	if (NAMED(parent, "calls"))
		return BEGINS(name, "agent-") ? CLASS_NONE : class_by_name(name);
	return NAMED(name, "agent") ? CLASS_AGENT : CLASS_NONE;
}
