#!/bin/bash
# agentshctl doctor where everything can be enforced, and where it can't: what it says, and its exit status.
# kernels: newest lts
# mem: 2048
# timeout: 120
set -u
build=${AGENTSH_BUILD:-${CARGO_TARGET_DIR:-target}/$(uname -m)-unknown-linux-gnu/debug}
bin=$(mktemp -d)
cp "$build/agentsh" "$build/agentshctl" "$bin/" || exit
ln "$bin/agentsh" "$bin/bash"
export SHELL=$bin/bash AGENTSH_LOG=$bin/calls.jsonl
cd "$bin" || exit

report() { if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: expected $3, saw $2"; fi; }
# doctor ARGS…: its report in $said, its exit status in $status.
doctor() { said=$("$@" "$bin/agentshctl" doctor 2>&1) && status=0 || status=$?; }
# said TEXT: the number of lines with it.
said() { printf '%s\n' "$said" | grep -cF -- "$1"; }

doctor
report 'outside a session doctor ends with 1' "$status" 1
report 'and names the missing leaf' "$(said '1  MISSING  leaf')" 1
report 'and what to do about it' "$(said 'agentshctl run')" 2

doctor "$bin/agentshctl" run --memory-max 1G --
report 'in a session everything is enforced' "$status" 0
report 'which a sample call shows, in its leaf' "$(said '/calls/explore-0')" 1
report 'with all of its knobs' "$(said 'every knob of the leaf was taken')" 1
report 'and its record' "$(said 'a sample call was recorded in')" 1
[ "$status" = 0 ] || printf '%s\n' "$said"

said=$("$bin/agentshctl" run --memory-max 1G -- "$bin/bash" -c "$bin/agentshctl doctor")
report 'within a call doctor says which one it is part of' "$(said 'itself part of a')" 1

printf 'version: 1\nclasses:\n  test:\n    cpu.weight: 0\n' >.agentsh.yaml
doctor "$bin/agentshctl" run --memory-max 1G --
report 'a broken policy is a finding' "$status" 1
report 'named by file and line' "$(said '.agentsh.yaml:4:')" 1
report 'and what is in force instead' "$(said 'policy is in force')" 1
rm .agentsh.yaml

printf 'version: 1\nlog:\n  enabled: false\n' >silent.yaml
AGENTSH_POLICY=silent.yaml doctor "$bin/agentshctl" run --memory-max 1G --
report 'a policy that nobody has compiled yet is in force' "$(said 'switched off by the policy')" 1

AGENTSH_LOG=/proc/calls.jsonl doctor "$bin/agentshctl" run --memory-max 1G --
report 'a log that cannot be written is a finding' "$status" 1
report 'named with the reason' "$(said '/proc/calls.jsonl: can')" 1

# A level whose controllers nobody has enabled.
"$bin/agentshctl" run --session bare --memory-max 1G -- true
echo '-cpu -pids' >/sys/fs/cgroup/agentsh/bare/calls/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/agentsh/bare/agent
doctor env AGENTSH_SESSION=/agentsh/bare sh -c 'echo $$ >/sys/fs/cgroup/agentsh/bare/agent/cgroup.procs && exec "$@"' sh
report 'a leaf without all controllers is a finding' "$status" 1
report 'named knob by knob' "$(said 'not in force: cpu.weight, pids.max')" 1
[ "$(said 'not in force: cpu.weight, pids.max')" = 1 ] || printf '%s\n' "$said"
"$bin/agentshctl" doctor --json | grep -q '^{"v":1,"enforced":false,"checks":\[{"tier":"0",' && echo 'ok JSON has the same' || echo 'not ok JSON has the same'
