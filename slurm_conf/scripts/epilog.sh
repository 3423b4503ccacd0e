#!/usr/bin/env bash
# Made by `hpctools conf render`. Epilog of slurm.conf(5): run by slurmd as root after a job ended here.
# What the job's user left on GPUs and ports, outside of any other job, is ended. Ends with 1, so that
# Slurm drains the node, where that does not go, or a GPU is no longer sound.
set -uo pipefail
here=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=node-checks.sh
. "$here/node-checks.sh"
read_settings "$here/node-checks.conf"
grace_s=10 # a process that the kernel is freeing memory of takes a while

left_behind() {
    local pid
    strays "${SLURM_JOB_ID:-}" | while read -r pid; do
        [ "$(user_of "$pid")" != "${SLURM_JOB_UID:-}" ] || echo "$pid"
    done
}

for ((second = 0; second < grace_s; second++)); do
    mapfile -t pids < <(left_behind)
    [ ${#pids[@]} -gt 0 ] || break
    kill -KILL -- "${pids[@]}" 2>/dev/null
    sleep 1
done
faults=$(
    for pid in $(left_behind); do echo "process $pid ($(name_of "$pid")) of job ${SLURM_JOB_ID:-} does not end"; done
    check_gpus
)
report epilog "$faults"
[ -z "$faults" ]
