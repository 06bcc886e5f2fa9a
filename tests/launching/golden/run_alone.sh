#!/bin/bash

# Parameters
#SBATCH --cpus-per-task=4
#SBATCH --dependency=afterany:16
#SBATCH --gpus-per-node=1
#SBATCH --job-name='xray-lr depth'
#SBATCH --mem=16G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/results/lr depth/slurm/20261122-1200-runs-1a2b/%j_0_log.out'
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=240

# setup
conclude() { # CODE [OPTION VALUE]
    code=$1
    [ "$code" -ne 0 ] || exit 0
    trap : HUP INT TERM # of a requeue, which also signals this shell
    PYTHON -u JOBS/run.py --submission '/results/lr depth/slurm/20261122-1200-runs-1a2b' --after "$@"
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

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/results/lr depth/slurm/20261122-1200-runs-1a2b/%j_%t_log.out' --cpus-per-task=4 --export=ALL PYTHON -u JOBS/run.py --submission '/results/lr depth/slurm/20261122-1200-runs-1a2b'


# teardown
conclude $?