#!/bin/sh
# The kernel's side of what agentsh builds on, in the guest's own words: if one of these fails, the machine is wrong,
# not agentsh.
# kernels: newest mid lts
# swap: 256
# timeout: 90
group=/sys/fs/cgroup/limits
mkdir $group

report() {
    if [ "$2" = "$3" ]; then echo "ok $1"; else echo "not ok $1: expected $3, saw $2"; fi
}
event() { awk -v name="$1" '$1 == name { print $2 }' $group/memory.events; }
# Runs a command in the group. The shell that joins it must be new: this one has to outlive a kill of the group.
inside() { sh -c 'echo $$ >/sys/fs/cgroup/limits/cgroup.procs && exec "$@"' sh "$@"; }
# Allocates and touches this many MiB.
allocate() { inside python3 -c "b = bytearray($1 << 20); b[::4096] = b'x' * len(b[::4096])"; }

echo 64M >$group/memory.max
echo 0 >$group/memory.swap.max
echo 1 >$group/memory.oom.group
allocate 16
report 'an allocation below memory.max succeeds' $? 0
allocate 200
report 'an allocation beyond memory.max is killed' $? 137
# The victim is counted twice when its group dies with it.
if [ "$(event oom_kill)" -gt 0 ]; then echo 'ok and is counted as an OOM kill'; else echo 'not ok and is counted'; fi
report 'and as one of a group' "$(event oom_group_kill)" 1

echo 64M >$group/memory.high
echo max >$group/memory.max
echo max >$group/memory.swap.max
allocate 100
report 'an allocation beyond memory.high goes to swap' $? 0
if [ "$(event high)" -gt 0 ]; then echo 'ok and is counted'; else echo 'not ok and is counted'; fi
echo max >$group/memory.high

inside sleep 60 &
sleeper=$!
tries=0
while ! grep -q 'populated 1' $group/cgroup.events && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
echo 1 >$group/cgroup.freeze
tries=0
while ! grep -q 'frozen 1' $group/cgroup.events && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
report 'a group can be frozen' "$(grep -c 'frozen 1' $group/cgroup.events)" 1
echo 1 >$group/cgroup.kill
wait $sleeper
report 'and killed while frozen' $? 137
echo 0 >$group/cgroup.freeze

echo 1 >$group/pids.max
inside sh -c 'true & wait' 2>/dev/null
if [ "$(awk '$1 == "max" { print $2 }' $group/pids.events)" -gt 0 ]; then
    echo 'ok pids.max refuses a fork'
else
    echo 'not ok pids.max refuses a fork'
fi
rmdir $group
