# shellcheck shell=bash
# Made by `hpctools conf render`. What prolog.sh, epilog.sh and health-check.sh share: each check prints
# one line for each fault, and nothing where all is well. node-checks.conf beside it is read, not run.

# slurmd sets no PATH for its programs.
export PATH="${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}"
export LC_ALL=C

memlock=any       # unlimited: slurmd must be able to lock all memory
ports=            # first-last: where the ranks of jobs meet
mounts=()         # file systems that must be there
first_user=1000   # below are the system's own: monitoring uses GPUs, too
sys=/sys
smi_timeout_s=20  # a GPU that is gone can hang nvidia-smi for ever
xid_window_s=900  # older messages of the driver are history: three health checks
# Of NVIDIA's list of Xid errors those after which a GPU needs a reset or a technician: double bit ECC,
# row remapping failed, NVLink, fallen off the bus, uncontained ECC, context switch timeout, GSP.
xids='48 62 64 74 79 95 109 119 120 140 143'

read_settings() { # FILE
    local key value
    [ -r "$1" ] || return 0
    while IFS='=' read -r key value; do
        case $key in
            memlock) memlock=$value ;;
            ports) ports=$value ;;
            mount) mounts+=("$value") ;;
            first_user) first_user=$value ;;
            sys) sys=$value ;;
            xids) xids=$value ;;
        esac
    done <"$1"
}

# How many GPUs of NVIDIA are on the bus, whether the driver still sees them or not.
gpus_on_bus() {
    local device count=0
    for device in "$sys"/bus/pci/devices/*; do
        [ -r "$device/vendor" ] || continue
        case $(<"$device/vendor")/$(<"$device/class") in 0x10de/0x030[02]*) count=$((count + 1)) ;; esac
    done
    echo "$count"
}

smi() { timeout --kill-after=5 "$smi_timeout_s" nvidia-smi "$@" --format=csv,noheader,nounits 2>&1; }

check_gpus() {
    local wanted answer index uncorrected bus pending failure count=0
    wanted=$(gpus_on_bus)
    [ "$wanted" -gt 0 ] || return 0
    if ! answer=$(smi --query-gpu=index,ecc.errors.uncorrected.volatile.total); then
        echo "nvidia-smi fails: ${answer%%$'\n'*}"
        return 0
    fi
    while IFS=', ' read -r index uncorrected; do
        [[ $index =~ ^[0-9]+$ ]] || continue
        count=$((count + 1))
        # [N/A] where a GPU has no ECC, or it is off.
        if [[ $uncorrected =~ ^[1-9][0-9]*$ ]]; then
            echo "GPU $index: $uncorrected uncorrectable ECC errors"
        fi
    done <<<"$answer"
    [ "$count" -ge "$wanted" ] || echo "$count of $wanted GPUs answer"
    # Before Ampere there is no row remapping, and nvidia-smi says so.
    answer=$(smi --query-remapped-rows=gpu_bus_id,remapped_rows.pending,remapped_rows.failure) || return 0
    while IFS=', ' read -r bus pending failure; do
        case $pending in Yes | [1-9]*) echo "GPU $bus: rows wait to be remapped: reset it" ;; esac
        case $failure in Yes | [1-9]*) echo "GPU $bus: rows cannot be remapped: replace it" ;; esac
    done <<<"$answer"
}

# Messages of the driver since the last health checks; when the node was mended, they do not count again.
check_xids() {
    local now line
    local pattern='^\[ *([0-9]+)\.[0-9]+\].*NVRM: Xid \(([^)]*)\): ([0-9]+)'
    read -r now _ </proc/uptime
    dmesg 2>/dev/null | grep -F 'NVRM: Xid' | while IFS= read -r line; do
        [[ $line =~ $pattern ]] || continue
        [ $((${now%.*} - BASH_REMATCH[1])) -le "$xid_window_s" ] || continue
        case " $xids " in *" ${BASH_REMATCH[3]} "*) echo "Xid ${BASH_REMATCH[3]} of ${BASH_REMATCH[2]}" ;; esac
    done | sort -u
}

check_mounts() {
    local path
    for path in "${mounts[@]}"; do
        # A server that is gone lets stat wait for ever.
        if ! timeout --kill-after=5 10 stat -f -- "$path" >/dev/null 2>&1; then
            echo "$path does not answer"
        elif ! mountpoint -q -- "$path"; then
            echo "$path is not mounted"
        fi
    done
}

# Programs of slurmd have its limits, and so have jobs.
check_memlock() {
    if [ "$memlock" = unlimited ] && [ "$(ulimit -l)" != unlimited ]; then
        echo "slurmd may lock only $(ulimit -l) KiB of memory (LimitMEMLOCK=infinity in its unit)"
    fi
}

# The job whose cgroup a process is in; nothing for a process of no job.
job_of() { # PID
    sed -n 's:.*/job_\([0-9]*\).*:\1:p' "/proc/$1/cgroup" 2>/dev/null | head -n 1
}

# Nothing for a process that is gone, or only waits for its parent to notice.
user_of() { grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null || stat -c %u "/proc/$1" 2>/dev/null; }

name_of() { head -c 15 "/proc/$1/comm" 2>/dev/null | tr -cd '[:alnum:]_.:-'; }

# Who computes on a GPU.
pids_on_gpus() {
    [ "$(gpus_on_bus)" -gt 0 ] || return 0
    smi --query-compute-apps=pid | grep -xE '[0-9]+'
}

# Who listens on the ports at which ranks meet, NCCL's bootstrap among them.
pids_on_ports() {
    [ -n "$ports" ] || return 0
    ss -Hltnp "sport >= :${ports%-*} and sport <= :${ports#*-}" 2>/dev/null | grep -oE 'pid=[0-9]+' | cut -d= -f2
}

# Processes of users that hold what jobs need, and are in no job, or in JOB.
strays() { # JOB
    local pid job user
    { pids_on_gpus; pids_on_ports; } | sort -un | while read -r pid; do
        user=$(user_of "$pid")
        job=$(job_of "$pid")
        if [ -n "$user" ] && [ "$user" -ge "$first_user" ] && { [ -z "$job" ] || [ "$job" = "$1" ]; }; then echo "$pid"; fi
    done
}

check_strays() {
    local pid
    strays "" | while read -r pid; do
        echo "process $pid ($(name_of "$pid")) of user $(user_of "$pid") holds a GPU or a port, and is in no job"
    done
}

# Says the faults (if any) where slurmd and the journal keep them.
report() { # PROGRAM FAULTS
    [ -n "$2" ] || return 0
    echo "$2" >&2
    logger -t "slurm-$1" -- "${2//$'\n'/; }" 2>/dev/null || true
}
