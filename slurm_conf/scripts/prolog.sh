#!/usr/bin/env bash
# Made by `hpctools conf render`. Prolog of slurm.conf(5): run by slurmd as root before a job starts here.
# Ends with 1 where the node is not fit for it: Slurm drains the node, and the job starts elsewhere. It
# calls no command of Slurm's, since those wait for the slurmctld that waits for it.
set -uo pipefail
here=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=node-checks.sh
. "$here/node-checks.sh"
read_settings "$here/node-checks.conf"

faults=$(check_mounts; check_gpus; check_memlock; check_strays)
report prolog "$faults"
[ -z "$faults" ]
