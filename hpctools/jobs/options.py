"""The settings of a job, in one table.

From OPTIONS come the options of `hpctools submit`, the HPCTOOLS_* variables, the keys of
hpctools.yaml, config.yaml and a site's defaults, the keywords of hpctools.submit, and the rows of
--show-config. A setting is text until its `read` made a value of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hpctools.jobs import readers
from hpctools.jobs.readers import Value


@dataclass(frozen=True)
class Option:
    """One setting.

    name: as on the command line (gpus-per-node); in YAML gpus_per_node, as a variable
    HPCTOOLS_GPUS_PER_NODE. read makes a value of text and raises ParseError; form says what it
    takes. sbatch: the option of sbatch that carries it, variable: the SBATCH_ variable that sets
    it outside of hpctools. many: it is a map, given entry by entry, NAME or NAME=VALUE.
    """

    name: str
    section: str
    help: str
    metavar: str = "TEXT"
    read: Callable[[str], Value] = str
    form: str = ""
    short: str = ""
    default: Value | None = None
    sbatch: str = ""
    variable: str = ""
    many: bool = False
    flag: bool = False
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name in YAML and Python."""
        return self.name.replace("-", "_")

    @property
    def environment(self) -> str:
        """The HPCTOOLS_ variable; empty for maps, which have none."""
        return "" if self.many else "HPCTOOLS_" + self.key.upper()


WHAT, SIZE, WHERE = "What runs", "How much", "Where and when"
AGAIN, FILES, SITE = "Preemption and restarts", "Files", "Site and sbatch"

OPTIONS: tuple[Option, ...] = (
    Option(
        "command",
        WHAT,
        "TARGET is a program to be run with ARGS as it stands, without a shell; not a script in a file.",
        read=readers.flag,
        flag=True,
        default=False,
        form="yes or no",
    ),
    Option(
        "launcher",
        WHAT,
        "torchrun: ranks by torchrun, one agent a node. none: srun runs TARGET itself.",
        read=readers.one_of("torchrun", "none"),
        choices=("torchrun", "none"),
        default="torchrun",
    ),
    Option(
        "python",
        WHAT,
        "Interpreter of the job. Default: the active virtual or conda environment's, else the one that "
        "runs hpctools; in an image its python3.",
        metavar="FILE",
        read=readers.path,
    ),
    Option(
        "image",
        WHAT,
        "Image that the ranks run in: x.sif, docker://..., oras://... or a name of the site.",
        metavar="IMAGE",
        read=readers.word,
    ),
    Option(
        "bind",
        WHAT,
        "A folder that the image is to see beside the job's own and the site's. Repeatable.",
        metavar="HOST[:IMAGE[:ro]]",
        many=True,
    ),
    Option(
        "ranks-per-node",
        WHAT,
        "Ranks on each node. Default: one a GPU, one without GPUs; with --launcher none one.",
        metavar="N",
        read=readers.count,
    ),
    Option(
        "env",
        WHAT,
        "A variable of the job: K=V sets it, K alone takes its value from here. Repeatable.",
        metavar="K[=V]",
        many=True,
    ),
    Option(
        "preflight",
        WHAT,
        "Look at every node before the training starts, for less than a minute; a bad one ends the job.",
        read=readers.flag,
        flag=True,
        default=False,
        form="yes or no",
    ),
    Option(
        "secret",
        WHAT,
        "A variable of the job, from here, that stands in no script, record or log. Repeatable.",
        metavar="K",
        many=True,
    ),
    Option(
        "env-file",
        WHAT,
        "A file of such variables, K=V a line.",
        metavar="FILE",
        read=readers.path,
    ),
    Option(
        "name",
        WHAT,
        "Name of the job. Default: TARGET's, without its ending.",
        read=readers.word,
        short="J",
        sbatch="job-name",
        variable="SBATCH_JOB_NAME",
    ),
    Option("comment", WHAT, "A comment that Slurm keeps with the job.", sbatch="comment"),
    Option(
        "nodes",
        SIZE,
        "Number of nodes.",
        metavar="N",
        read=readers.count,
        default=1,
        short="N",
        sbatch="nodes",
    ),
    Option(
        "gpus-per-node",
        SIZE,
        "GPUs on each node, N or TYPE:N. Default: all of the node type's.",
        metavar="[TYPE:]N",
        read=readers.gpus,
        form="4, h200:4, or 0 for none",
        variable="SBATCH_GPUS_PER_NODE",
    ),
    Option("gpu-type", SIZE, "Type of GPU, as sinfo shows it: h200.", metavar="TYPE", read=readers.gpu_type),
    Option(
        "cpus-per-task",
        SIZE,
        "CPUs of each task (torchrun: each node). Default: a whole node's, else in proportion to the GPUs.",
        metavar="N",
        read=readers.count,
        short="c",
        sbatch="cpus-per-task",
    ),
    Option(
        "mem",
        SIZE,
        "Memory on each node, 0 for all. Default: all of a whole node, else in proportion to the GPUs.",
        metavar="SIZE",
        read=readers.memory,
        form="64G, 64000M, or 0 for all of the node's",
        sbatch="mem",
        variable="SBATCH_MEM_PER_NODE",
    ),
    Option(
        "array",
        SIZE,
        "Runs the job once for each of these task ids: 0-9, 1,3,7, 0-99%10 (ten at a time).",
        metavar="IDS",
        read=readers.array,
        form="0-9, 1,3,7 or 0-99%10",
        short="a",
        sbatch="array",
        variable="SBATCH_ARRAY_INX",
    ),
    Option(
        "time",
        WHERE,
        "Time limit. Default: the site's, else the partition's.",
        metavar="TIME",
        read=readers.duration,
        form="30 is minutes; 1:30:00; 2-12:00:00",
        short="t",
        sbatch="time",
        variable="SBATCH_TIMELIMIT",
    ),
    Option(
        "partition",
        WHERE,
        "Partition. Default: the cluster's.",
        metavar="NAME",
        read=readers.word,
        short="p",
        sbatch="partition",
        variable="SBATCH_PARTITION",
    ),
    Option(
        "account",
        WHERE,
        "Account that is charged.",
        metavar="NAME",
        read=readers.word,
        short="A",
        sbatch="account",
        variable="SBATCH_ACCOUNT",
    ),
    Option(
        "qos",
        WHERE,
        "Quality of service.",
        metavar="NAME",
        read=readers.word,
        short="q",
        sbatch="qos",
        variable="SBATCH_QOS",
    ),
    Option(
        "constraint",
        WHERE,
        "Features that the nodes must have.",
        read=readers.word,
        short="C",
        sbatch="constraint",
        variable="SBATCH_CONSTRAINT",
    ),
    Option(
        "nodelist",
        WHERE,
        "Nodes that must be among them.",
        metavar="NODES",
        read=readers.word,
        short="w",
        sbatch="nodelist",
    ),
    Option(
        "exclude",
        WHERE,
        "Nodes that must not be among them.",
        metavar="NODES",
        read=readers.word,
        short="x",
        sbatch="exclude",
    ),
    Option(
        "reservation",
        WHERE,
        "Reservation to run in.",
        metavar="NAME",
        read=readers.word,
        sbatch="reservation",
        variable="SBATCH_RESERVATION",
    ),
    Option(
        "dependency",
        WHERE,
        "Other jobs to wait for: afterok:123.",
        metavar="JOBS",
        read=readers.word,
        short="d",
        sbatch="dependency",
    ),
    Option(
        "warn-before",
        AGAIN,
        "How long before the time limit the ranks are told to save; 0: not. Default: by the time limit.",
        metavar="SECONDS",
        read=readers.amount,
    ),
    Option(
        "checkpoint-time",
        AGAIN,
        "How long saving a checkpoint takes. Default: as measured in earlier runs of this name.",
        metavar="SECONDS",
        read=readers.count,
    ),
    Option(
        "max-attempts",
        AGAIN,
        "How often the job is started in all, for whatever reason.",
        metavar="N",
        read=readers.count,
        default=50,
    ),
    Option(
        "retries",
        AGAIN,
        "How often the job is started again after a rank has failed.",
        metavar="N",
        read=readers.amount,
        default=0,
    ),
    Option(
        "crash-limit",
        AGAIN,
        "So many failures in a row, each soon after the start, end the job for good; 0: no limit.",
        metavar="N",
        read=readers.amount,
        default=3,
    ),
    Option(
        "crash-seconds",
        AGAIN,
        "How soon after the start that is.",
        metavar="SECONDS",
        read=readers.amount,
        default=60,
    ),
    Option(
        "runs-dir",
        FILES,
        "Where the run folder is made; on the file system that the nodes share.",
        metavar="FOLDER",
        read=readers.path,
        default="runs",
    ),
    Option(
        "output",
        FILES,
        "The job's log, with Slurm's patterns (%j, %A_%a). Default: slurm.out in the run folder.",
        metavar="FILE",
        read=readers.path,
        short="o",
    ),
    Option(
        "template",
        FILES,
        "A template of the job script to use instead of the site's or the packaged one.",
        metavar="FILE",
        read=readers.path,
    ),
    Option(
        "site",
        SITE,
        "The cluster's settings: a file, or the name of a packaged one. Default: /etc/hpctools/site.yaml.",
        metavar="NAME|FILE",
        read=readers.word,
    ),
    Option(
        "set",
        SITE,
        "Sets a variable of the template, or a key of the site's (site.export=NONE). Repeatable.",
        metavar="A.B=V",
        many=True,
    ),
    Option(
        "sbatch-option",
        SITE,
        "An option of sbatch, passed on as it is: NAME or NAME=VALUE. Repeatable.",
        metavar="NAME[=V]",
        many=True,
    ),
    Option(
        "retry-for",
        SITE,
        "For how many seconds a Slurm that does not answer is asked again.",
        metavar="SECONDS",
        read=readers.amount,
        default=30,
    ),
)

BY_NAME: Mapping[str, Option] = MappingProxyType({option.name: option for option in OPTIONS})
# How the names of a map's entries are read.
ENTRY_NAMES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "env": readers.variable_name,
        "bind": readers.word,
        "secret": readers.variable_name,
        "set": readers.dotted_name,
        "sbatch-option": readers.sbatch_name,
    }
)
