"""What of the environment at submission a job gets.

sbatch's own default is all of it: with every token of the shell, kept by Slurm where
AccountingStoreFlags has job_env. Here it is what a list of patterns names (`site.export: LISTED`); the
same list stands in the script, for whoever submits that by hand. sbatch --export=NAMES is no way: it
makes slurmd log in as the user for the rest (sbatch.c, env_merge_filter).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase

from hpctools.errors import ParseError

LISTED, ALL, NONE = "LISTED", "ALL", "NONE"
# Who we are and where; modules; Python; GPUs, libraries of training and of the network.
ALLOWED = tuple(
    """
    PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TERM PWD OLDPWD SHLVL HOSTNAME TMPDIR XDG_* KRB5CCNAME
    _ ENV ENVIRONMENT BASH* SHELLOPTS LD_* LIBRARY_PATH CPATH MANPATH PKG_CONFIG_PATH
    MODULE* LOADEDMODULES _LMFILES_* LMOD_* __LMOD_* _ModuleTable* __MODULES_* EB* SPACK_*
    VIRTUAL_ENV* CONDA_* _CE_* MAMBA_* PYTHON* CC CXX
    CUDA* CUDNN* NVIDIA_* GPU_* ROCM_* ROCR_* HIP_* HSA_* MIOPEN_* ZE_*
    NCCL_* RCCL_* GLOO_* TORCH* PYTORCH_* TRITON_* XLA_* JAX_* TF_* DS_* DEEPSPEED_* ACCELERATE_* HYDRA_*
    HF_* TRANSFORMERS_* TOKENIZERS_* WANDB_* MLFLOW_*
    FI_* OFI_* UCX_* HCOLL_* SHARP_* RDMAV_* IBV_* MLX5_* OMPI_* PMIX_* PMI_* MPI* I_MPI_*
    OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* NUMEXPR_*
    APPTAINER* SINGULARITY* ENROOT_* PYXIS_* http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY
    SLURM* SBATCH_* SRUN_* SPANK_*
    """.split()
)
# Names of what is a secret, whatever the list says.
SECRETS = tuple(
    """
    *TOKEN *_TOKEN_* *SECRET* *PASSWORD* *PASSWD* *PASSPHRASE* *CREDENTIAL* *API_KEY* *APIKEY* *ACCESS_KEY*
    *PRIVATE_KEY* *_KEY
    """.split()
)
# Slurm's commands need theirs, which may be a token (SLURM_JWT).
_SLURMS = ("SLURM_", "SBATCH_")
# https://user:password@host
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]*@", re.IGNORECASE)
_PATTERN = re.compile(r"[A-Za-z_*][A-Za-z0-9_*]*")


def patterns(text: str) -> tuple[str, ...]:
    """Patterns of names, as a site's `exported` has them: "SCRATCH, MYSITE_*"."""
    found = tuple(text.replace(",", " ").split())
    for one in found:
        if not _PATTERN.fullmatch(one):
            raise ParseError("a list of names of variables, * for any letters", one)
    return found


def _matches(name: str, among: Iterable[str]) -> bool:
    return any(fnmatchcase(name, one) for one in among)


def looks_secret(name: str, value: str = "") -> bool:
    """Whether a variable is a secret, by its name, or by a password in an address."""
    return _matches(name, SECRETS) or bool(_WITH_PASSWORD.search(value))


def environment(
    environ: Mapping[str, str], export: str, also: Collection[str] = (), withheld: Collection[str] = ()
) -> dict[str, str]:
    """The environment that sbatch is run in, which a job inherits.

    export: ALL, LISTED, or NONE, where sbatch itself leaves it out. also: a site's own patterns.
    withheld: names that never pass, such as those of --secret.
    """
    allowed = (*ALLOWED, *also)
    return {
        name: value
        for name, value in environ.items()
        if name not in withheld
        and (
            export != LISTED
            or name.startswith(_SLURMS)
            or (_matches(name, allowed) and not looks_secret(name, value))
        )
    }


def left_out(environ: Mapping[str, str], known: Collection[str]) -> tuple[str, ...]:
    """The secrets of an environment that a job does not get, and was not given in another way."""
    names = (name for name, value in environ.items() if name not in known and looks_secret(name, value))
    return tuple(sorted(name for name in names if not name.startswith(_SLURMS)))


def lines(export: str, also: Collection[str] = ()) -> str:
    """The lines of bash that keep to the list; empty where a job gets all."""
    if export != LISTED:
        return ""
    return _FILTER.format(allowed=_wrapped((*ALLOWED, *also)), secret=_wrapped((*SECRETS, "SLURM_JWT")))


_FILTER = """\
# Of the environment at submission a job gets what is named here, so that no token of a shell goes along.
# hpctools keeps to it already; this is for a script that is submitted by hand.
shopt -s extglob
_allowed="\\
{allowed}"
_secret="\\
{secret}"
for _name in $(compgen -e); do
    [[ $_name == @($_allowed) && $_name != @($_secret) ]] || unset -v "$_name"
done"""


def _wrapped(names: Iterable[str]) -> str:
    """Patterns as alternatives within double quotes; they hold letters, digits, _ and * only."""
    lines = textwrap.wrap(" ".join(names), 100, break_long_words=False, break_on_hyphens=False)
    # The line break goes with the backslash before it. (bash is slow at putting in the | itself.)
    return "|\\\n".join(line.replace(" ", "|") for line in lines)
