"""The words of the ...Parameters keys. Slurm looks for those that it knows, and never tells of others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from hpctools.conf.candidate import Candidate
from hpctools.conf.finding import Problem
from hpctools.conf.rules import rule
from hpctools.conf.rules.plugins import gone_since
from hpctools.slurm.conf_text import without_word
from hpctools.slurm.releases import at_least

# The words that slurm.conf(5) or the source has, by key: those of all releases since 22.05, and others
# with the first and the last release that has them ("24.05-" and "-24.11" are open to one side).
_CONMGR = """
    conmgr_connect_timeout:24.11- conmgr_max_connections:24.11- conmgr_quiesce_timeout:25.05-
    conmgr_read_timeout:24.11- conmgr_threads:24.11- conmgr_use_poll:24.11- conmgr_wait_write_delay:24.11-
    conmgr_write_timeout:24.11-
"""
_WORDS = {
    "SchedulerParameters": """
        allow_zero_lic assoc_limit_stop batch_sched_delay bb_array_stage_cnt bf_allow_magnetic_slot:24.11-
        bf_busy_nodes bf_continue bf_hetjob_immediate bf_hetjob_prio bf_interval bf_job_part_count_reserve
        bf_licenses bf_max_job_array_resv bf_max_job_assoc bf_max_job_part bf_max_job_start bf_max_job_test
        bf_max_job_user bf_max_job_user_part bf_max_time bf_min_age_reserve bf_min_prio_reserve
        bf_node_space_size bf_one_resv_per_job bf_resolution bf_running_job_reserve bf_topopt_enable:24.11-
        bf_topopt_iterations:24.11- bf_window bf_window_linear bf_yield_interval bf_yield_rpc_cnt:25.05-
        bf_yield_rpc_count:25.05- bf_yield_sleep build_queue_timeout correspond_after_task_cnt
        default_queue_depth defer defer_batch:23.02- delay_boot disable_hetero_steps disable_hetjob_steps
        disable_job_shrink enable_hetjob_steps enable_job_state_cache:23.11-25.11 enable_user_top
        extra_constraints:23.11- ignore_constraint_validation:24.11- ignore_numa ignore_prefer_validation
        interval jobs_per_user_per_hour max_array_tasks max_job_bf max_rpc_cnt max_rpc_count max_sched_time
        max_script_size max_submit_line_size:23.11- max_switch_wait no_backup_scheduling no_env_cache:-24.11
        nohold_on_prolog_fail pack_serial_at_end partition_job_depth permit_job_expansion
        preempt_reorder_count preempt_strict_order preempt_youngest_first reduce_completing_frag
        requeue_delay:25.11- requeue_on_resume_failure:25.05- requeue_setup_env_fail:-24.11
        salloc_wait_nodes sbatch_wait_nodes sched_interval sched_max_job_start sched_min_interval
        spec_cores_first step_retry_count step_retry_time time_min_as_soft_limit:23.11- whole_hetjob
        whole_pack
    """,
    "SlurmctldParameters": f"""
        allow_user_triggers cloud_dns cloud_reg_addrs disable_triggers:23.11- enable_async_reply:25.11-
        enable_configless enable_expedited_requeue:25.11- enable_job_state_cache:23.11-23.11
        enable_rpc_queue enable_stepmgr:24.05- health_check_report:26.05- idle_on_node_suspend
        max_dbd_msg_action max_powered_nodes:24.05- no_quick_restart:23.11- node_reg_mem_percent
        power_save_interval power_save_min_interval preempt_send_user_signal reboot_from_controller
        reconfig_on_restart:25.11- rl_bucket_size:23.02- rl_enable:23.02- rl_log_freq:23.11-
        rl_refill_period:23.02- rl_refill_rate:23.02- rl_table_size:23.02- threadpool:26.05-
        user_resv_delete validate_nodeaddr_threads:23.02- {_CONMGR}
    """,
    "SlurmdParameters": f"""
        allow_ecores:23.02- config_overrides contain_spank:24.05- l3cache_as_socket numa_node_as_socket
        shutdown_on_reboot {_CONMGR}
    """,
    "LaunchParameters": """
        batch_step_set_cpu_freq cray_net_exclusive disable_send_gids enable_nss_slurm
        interactive_step_set_cpu_freq:25.11- lustre_no_flush mem_sort:-25.11 mpir_use_nodeaddr send_gids
        slurmstepd_memlock slurmstepd_memlock_all srun_exclusive_allocation:26.05- test_exec
        ulimit_pam_adopt:23.02- use_interactive_step
    """,
    "CommunicationParameters": """
        block_null_hash block_zero_hash checkghalquiesce:-23.11 disable_http:25.11- disableipv4 enableipv6
        getnameinfo_cache_timeout:23.02- host_unreach_retry_count:25.05- keepaliveinterval keepaliveprobes
        keepalivetime noaddrcache noctldinaddrany noinaddrany
    """,
    "PreemptParameters": """
        min_exempt_priority:23.02- reclaim_licenses:23.02- reorder_count:23.02- send_user_signal:23.02-
        strict_order:23.02- suspend_grace_time youngest_first:23.02-
    """,
    "TopologyParam": """
        blockasnoderank:25.11- dragonfly noctldinaddrany noinaddrany routepart:23.11- routetree:23.11-
        switchasnoderank:23.02- topomaxsizeunroll:24.11- topooptional
    """,
    "DependencyParameters": "disable_remote_singleton kill_invalid_depend max_depend_depth",
    "JobAcctGatherParams": """
        disablegpuacct:23.02- no_file_cache:25.11- noshare noshared overmemorykill usepss
    """,
    "MetricsParameters": "ignore_private_data:26.05-",
}
# Words that switch off what nobody has to switch off, or not any more: no other word is meant.
_NEGATIONS = ("no", "disable")


def _spans(text: str) -> Mapping[str, tuple[str, str]]:
    """The first and last release of each word; "" where it has no bound."""
    found = {}
    for word in text.split():
        name, _, span = word.partition(":")
        first, _, last = span.partition("-")
        found[name] = (first, last)
    return found


_KNOWN = {key: _spans(text) for key, text in _WORDS.items()}


@rule("unknown-parameter", "warning")
def unknown_parameter(candidate: Candidate) -> Iterator[Problem]:
    slurm = candidate.slurm
    if not slurm:
        return
    for key, known in _KNOWN.items():
        pair = slurm.get(key)
        if not pair or pair.value.lower() in ("(null)", "none", ""):
            continue
        for word in slurm.words(key):
            name = word.partition("=")[0].strip()
            first, last = known.get(name.lower(), ("", ""))
            if not name:
                continue
            if name.lower() not in known:
                yield Problem(
                    pair, f"{name} is no word of {pair.key}; Slurm passes over it", _hint(name, key)
                )
            elif first and not at_least(candidate.release, first):
                message = f"{name} in {pair.key} is new in {first}; {candidate.release} passes over it"
                yield Problem(pair, message, "remove it")
            elif last and not at_least(last, candidate.release):
                message = f"{name} in {pair.key} is gone since {gone_since(last)}; Slurm passes over it"
                yield Problem(pair, message, "remove it", edits=(without_word(pair, name),))


def _hint(name: str, key: str) -> str:
    other = next((one for one, known in _KNOWN.items() if one != key and name.lower() in known), None)
    if other:
        return f"it belongs into {other}"
    if name.lower().startswith(_NEGATIONS):
        return "remove it"
    near = get_close_matches(name.lower(), _KNOWN[key], n=1, cutoff=0.8)
    return f"did you mean {near[0]}?" if near else f"see {key} in slurm.conf(5)"
