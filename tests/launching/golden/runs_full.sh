#!/bin/bash

# Parameters
#SBATCH --account=chest
#SBATCH --array=0-8%4
#SBATCH --constraint='a100|h100'
#SBATCH --cpus-per-task=16
#SBATCH --dependency=afterany:17:18
#SBATCH --exclude=node7
#SBATCH --gpus-per-node=a100:2
#SBATCH --job-name='xray-lr depth'
#SBATCH --mem=64G
#SBATCH --nice=0
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/results/lr depth/slurm/20261122-1200-runs-1a2b/%A_%a_0_log.out'
#SBATCH --partition=gpu
#SBATCH --qos=long
#SBATCH --requeue
#SBATCH --signal=USR2@300
#SBATCH --time=2160

# setup
conclude() { # CODE [OPTION VALUE]
    code=$1
    [ "$code" -ne 0 ] || exit 0
    trap : HUP INT TERM # of a requeue, which also signals this shell
    bash '/results/lr depth/slurm/20261122-1200-runs-1a2b/slurm_proxy.sh' '/results/lr depth/slurm/20261122-1200-runs-1a2b' apptainer exec --nv 'my image.sif' python -u JOBS/run.py --submission '/results/lr depth/slurm/20261122-1200-runs-1a2b' --after "$@"
    case $? in 0 | 2) exit "$code" ;; esac # recorded, or reported by Python
    error="exit code $code, and Python did not start on $SLURMD_NODENAME${3:+; $3}"
    echo "error: $error" >&2
    echo "$error" >'/results/lr depth/slurm/20261122-1200-runs-1a2b/unrecorded_end'."${SLURM_ARRAY_TASK_ID:-0}"
    job=$(scontrol -o show job "$SLURM_JOB_ID")
    excluded=$SLURMD_NODENAME known='ExcNodeList=([^ (]+)'
    if [[ $job =~ $known ]]; then excluded+=,${BASH_REMATCH[1]}; fi
    others=$(sinfo -h -N -p "$SLURM_JOB_PARTITION" -o %N |
        grep -vxF "$(scontrol show hostnames "$excluded")")
    if [ "${SLURM_RESTART_COUNT:-0}" -lt 2 ] && [ "$others" ] &&
        [[ $job == *JobState=RUNNING* ]]; then
        trap '' HUP INT TERM
        scontrol requeue "$SLURM_JOB_ID"
        scontrol update JobId="$SLURM_JOB_ID" ExcNodeList="$excluded"
    fi
    exit "$code"
}
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
srun --unbuffered --output '/results/lr depth/slurm/20261122-1200-runs-1a2b/%A_%a_%t_log.out' --cpus-per-task=16 --export=ALL bash '/results/lr depth/slurm/20261122-1200-runs-1a2b/slurm_proxy.sh' '/results/lr depth/slurm/20261122-1200-runs-1a2b' apptainer exec --nv 'my image.sif' python -u JOBS/run.py --submission '/results/lr depth/slurm/20261122-1200-runs-1a2b'


# teardown
conclude $?