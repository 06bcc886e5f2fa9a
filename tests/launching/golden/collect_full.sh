#!/bin/bash

# Parameters
#SBATCH --account=chest
#SBATCH --cpus-per-task=1
#SBATCH --job-name='collect-lr depth'
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/results/lr depth/slurm/20261122-1200-runs-1a2b/%j_0_log.out'
#SBATCH --partition=cpu
#SBATCH --qos=long
#SBATCH --signal=USR2@30
#SBATCH --time=20

# setup
conclude() { exit "$1"; }
setup_failed() {
    trap - ERR EXIT
    set +e
    case "$setup_line" in
        'export NAME="a b"') setup_line='export NAME=<masked>' ;;
    esac
    exec 2>&1
    cat "$setup_stderr"
    reason=$(sed -E 's,^[^ ]*/slurm_script: (eval: )?line [0-9]+: ,,' "$setup_stderr" | head -c 300)
    rm -f "$setup_stderr"
    error="cluster.setup: '$setup_line' ended with exit code $setup_code${reason:+: $reason}"
    error=$(tr -s '[:space:]' ' ' <<<"$error")
    echo "error: $error"
    conclude 75 --setup-error "$error"
}
setup_stderr='/results/lr depth/slurm/20261122-1200-runs-1a2b'/setup-stderr."$SLURM_JOB_ID"
trap 'setup_code=$?; [ ${#BASH_SOURCE[@]} -gt 1 ] || setup_failed' ERR # not in a sourced file
trap 'setup_code=$?; setup_failed' EXIT
for setup_line in \
    'module load cuda' \
    'export NAME="a b"'
do
    eval "$setup_line" 2>"$setup_stderr"
    cat "$setup_stderr" >&2
done
rm -f "$setup_stderr"
trap - ERR
case $(trap -p EXIT) in *setup_failed*) trap - EXIT ;; esac
set +e

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/results/lr depth/slurm/20261122-1200-runs-1a2b/%j_%t_log.out' --cpus-per-task=1 --export=ALL bash '/results/lr depth/slurm/20261122-1200-runs-1a2b/slurm_proxy.sh' '/results/lr depth/slurm/20261122-1200-runs-1a2b' apptainer exec --nv 'my image.sif' python -u JOBS/collect.py '/results/lr depth'
