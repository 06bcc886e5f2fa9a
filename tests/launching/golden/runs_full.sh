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
module load cuda
export NAME="a b"

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output '/results/lr depth/slurm/20261122-1200-runs-1a2b/%A_%a_%t_log.out' --cpus-per-task=16 --export=ALL apptainer exec --nv 'my image.sif' python -u JOBS/run.py --submission '/results/lr depth/slurm/20261122-1200-runs-1a2b'


# teardown
code=$?
[ "$code" -eq 0 ] || apptainer exec --nv 'my image.sif' python -u JOBS/run.py --submission '/results/lr depth/slurm/20261122-1200-runs-1a2b' --after "$code"
exit "$code"