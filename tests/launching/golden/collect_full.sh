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
module load cuda
export NAME="a b"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/results/lr depth/slurm/20261122-1200-runs-1a2b/%j_%t_log.out' --cpus-per-task=1 --export=ALL bash '/results/lr depth/slurm/20261122-1200-runs-1a2b/slurm_proxy.sh' '/results/lr depth/slurm/20261122-1200-runs-1a2b' apptainer exec --nv 'my image.sif' python -u JOBS/collect.py '/results/lr depth'
