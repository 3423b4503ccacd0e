#!/usr/bin/env bash
# Made by `hpctools conf render`. HealthCheckProgram of slurm.conf(5): run by slurmd as root every
# HealthCheckInterval. A node with a fault is drained, with the fault as reason; jobs on it go on. It is
# never resumed from here: whoever mended it does that.
set -uo pipefail
here=$(dirname -- "${BASH_SOURCE[0]}")
# shellcheck source=node-checks.sh
. "$here/node-checks.sh"
read_settings "$here/node-checks.conf"
node=${SLURMD_NODENAME:-$(hostname -s)}

faults=$(check_mounts; check_gpus; check_xids; check_memlock; check_strays)
[ -n "$faults" ] || exit 0
report health-check "$faults"
reason="health-check: ${faults//$'\n'/; }"
# The reason of whoever drained it first stays.
state=$(scontrol --oneliner show node "$node" | grep -oE ' State=[^ ]*') || exit 1
case $state in
    *DRAIN* | *DOWN*) ;;
    *) scontrol update "NodeName=$node" State=DRAIN "Reason=${reason:0:200}" ;;
esac
exit 1
