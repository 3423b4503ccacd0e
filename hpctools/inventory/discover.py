"""This node's report: from slurmd -C, nvidia-smi, /sys and /proc. Programs are only asked, nothing is set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpctools.errors import CommandError, NotFound, ParseError
from hpctools.inventory import nvidia, sysfs
from hpctools.inventory.report import GpuFacts, Report
from hpctools.process import Run
from hpctools.slurm import slurmd

# Without persistence mode the driver starts at each call: some seconds for each GPU.
TIMEOUT_S = 120
# Where packages put slurmd, and users' PATH has not.
SLURMD = ("slurmd", "/usr/sbin/slurmd", "/usr/local/sbin/slurmd", "/opt/slurm/sbin/slurmd")


def discover(run: Run, root: Path = Path("/")) -> Report:
    """The report of the node this runs on. What fails is told in it, and the rest is found all the same.

    root: where /sys and /proc are. Raises NotFound where not even the CPUs can be counted.
    """
    problems: list[str] = []
    hardware = _slurmd(run, problems)
    host = hardware.host if hardware else sysfs.host(root)
    if hardware:
        cpus = (hardware.sockets_per_board, hardware.cores_per_socket, hardware.threads_per_core)
    else:
        cpus = sysfs.cpus(root)
    memory_mb = hardware.memory_mb if hardware else sysfs.memory_mb(root)
    if not host or not all(cpus) or not memory_mb:
        raise NotFound(f"no slurmd -C, and neither CPUs nor memory in {root / 'sys'} and {root / 'proc'}")
    memlock_kb, memlock_of = sysfs.memlock(root)
    report = Report(
        host=host,
        source="slurmd" if hardware else "sysfs",
        boards=hardware.boards if hardware else 1,
        sockets=cpus[0],
        cores_per_socket=cpus[1],
        threads_per_core=cpus[2],
        memory_mb=memory_mb,
        gres=_gres(hardware) if hardware else "",
        numa=sysfs.numa(root),
        gpus_on_bus=sysfs.nvidia_on_bus(root),
        nics=sysfs.nics(root),
        interfaces=sysfs.interfaces(root),
        memlock_kb=memlock_kb,
        memlock_of=memlock_of,
        hugepages=sysfs.hugepages(root),
    )
    report = _with_gpus(report, run, root, problems)
    return replace(report, problems=tuple(problems))


def _slurmd(run: Run, problems: list[str]) -> slurmd.Hardware | None:
    _, *options = slurmd.command()
    for program in SLURMD:
        try:
            return slurmd.parse(run([program, *options], timeout_s=TIMEOUT_S).check())[0]
        except NotFound:
            continue
        except (CommandError, ParseError) as error:
            problems.append(f"slurmd -C: {error}")
            return None
    return None


def _gres(hardware: slurmd.Hardware) -> str:
    return ",".join(":".join(filter(None, (one.name, one.type, str(one.count)))) for one in hardware.gres)


def _with_gpus(report: Report, run: Run, root: Path, problems: list[str]) -> Report:
    """report with NVIDIA's GPUs, and which adapters are near to them."""
    text = _answer(run, nvidia.query_command(), problems, needed=report.gpus_on_bus > 0)
    if not text:
        return report
    try:
        query = nvidia.parse_query(text)
    except ParseError as error:
        problems.append(str(error))
        return report
    if query.attached not in (None, len(query.gpus)):
        problems.append(f"nvidia-smi lists {len(query.gpus)} GPUs and counts {query.attached}")
    # By device file, as gres.conf lists them; a driver that tells none keeps its own order.
    order = sorted(range(len(query.gpus)), key=lambda index: query.gpus[index].minor or 0)
    gpus = [query.gpus[index] for index in order]
    places = _topology(run, problems) if gpus else nvidia.Topology(())
    # The table's rows are in the order of the XML.
    rows = order if len(places.gpus) == len(gpus) else [-1] * len(gpus)
    profiles = _profiles(gpus, run, problems)
    facts = []
    for gpu, row in zip(gpus, rows, strict=True):
        numa = sysfs.near_cpus(report.numa, places.numa[row]) if row >= 0 else None
        if numa is None:
            told = sysfs.numa_of_device(root, gpu.bus_id)
            numa = sysfs.near_cpus(report.numa, (told,) if told is not None else ())
        facts.append(
            GpuFacts(
                name=gpu.name,
                bus_id=gpu.bus_id,
                minor=gpu.minor,
                memory_mb=gpu.memory_mb,
                numa=numa,
                ecc=gpu.ecc,
                mig=gpu.mig,
                profiles=profiles.get(gpu.uuid, ()),
                cluster=gpu.cluster,
                clique=gpu.clique,
            )
        )
    nics = tuple(
        replace(nic, near=tuple(index for index, row in enumerate(rows) if row in places.near(nic.name)))
        for nic in report.nics
    )
    return replace(
        report, driver=query.driver, gpus=tuple(facts), gpu_links=dict(places.gpu_links()), nics=nics
    )


def _topology(run: Run, problems: list[str]) -> nvidia.Topology:
    text = _answer(run, nvidia.topology_command(), problems, needed=True)
    try:
        return nvidia.parse_topology(text) if text else nvidia.Topology(())
    except ParseError as error:
        problems.append(str(error))
        return nvidia.Topology(())


def _profiles(gpus: Sequence[nvidia.Gpu], run: Run, problems: list[str]) -> dict[str, tuple[str, ...]]:
    """The MIG profiles on each GPU by its UUID; the list is asked for where one is divided."""
    if not any(gpu.mig for gpu in gpus):
        return {}
    found = nvidia.parse_list(_answer(run, nvidia.list_command(), problems, needed=True))
    for gpu in gpus:
        if gpu.mig and not found.get(gpu.uuid):
            problems.append(f"GPU {gpu.minor}: MIG is enabled, and there is no instance")
    return dict(found)


def _answer(run: Run, command: Sequence[str], problems: list[str], *, needed: bool) -> str:
    """What a program prints; "" where it fails, which is a problem, or is missing, which is one if needed."""
    try:
        done = run(command, timeout_s=TIMEOUT_S)
    except NotFound as error:
        if needed:
            problems.append(str(error))
        return ""
    except CommandError as error:
        problems.append(f"{' '.join(command)}: {error}")
        return ""
    if done.status:
        # nvidia-smi explains itself on stdout.
        said = (done.stderr.strip() or done.stdout.strip())[:500]
        problems.append(f"{' '.join(command)} ended with status {done.status}: {said or 'no message'}")
        return ""
    return done.stdout
