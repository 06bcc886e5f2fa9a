#!/bin/bash

# Parameters
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-node=1
#SBATCH --job-name='features-lr depth'
#SBATCH --mem=16G
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output='/results/lr depth/slurm/20261122-1200-runs-1a2b/%j_0_log.out'
#SBATCH --requeue
#SBATCH --signal=USR2@30
#SBATCH --time=240

# setup
conclude() {
    if [ "$1" -eq 140 ] &&
        [ "${SLURM_RESTART_COUNT:-0}" -lt 9 ]; then
        scontrol requeue "$SLURM_JOB_ID"
        exit "$1"
    fi
    echo "$1" >'/results/lr depth/slurm/20261122-1200-runs-1a2b/exit_code'
    exit "$1"
}

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/results/lr depth/slurm/20261122-1200-runs-1a2b/%j_%t_log.out' --cpus-per-task=4 --export=ALL PYTHON -u JOBS/features.py '/results/lr depth/runs/ft-0'


# teardown
conclude $?