#!/bin/bash

# Parameters
#SBATCH --account=chest
#SBATCH --cpus-per-task=1
#SBATCH --dependency=afterany:18
#SBATCH --job-name=collect-lr
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/results/slurm/%j_0_log.out
#SBATCH --partition=cpu
#SBATCH --qos=long
#SBATCH --signal=USR2@60
#SBATCH --time=20

# setup
module load cuda
export NAME="a b"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /results/slurm/%j_%t_log.out --cpus-per-task=1 python -m submitit
