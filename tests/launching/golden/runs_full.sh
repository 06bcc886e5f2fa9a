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
srun --unbuffered --output '/results/lr depth/slurm/20261122-1200-runs-1a2b/%A_%a_%t_log.out' --cpus-per-task=16 --export=ALL bash '/results/lr depth/slurm/20261122-1200-runs-1a2b/slurm_proxy.sh' '/results/lr depth/slurm/20261122-1200-runs-1a2b' apptainer exec --nv 'my image.sif' python -u JOBS/run.py --submission '/results/lr depth/slurm/20261122-1200-runs-1a2b'


# teardown
code=$?
trap : HUP INT TERM
[ "$code" -eq 0 ] || bash '/results/lr depth/slurm/20261122-1200-runs-1a2b/slurm_proxy.sh' '/results/lr depth/slurm/20261122-1200-runs-1a2b' apptainer exec --nv 'my image.sif' python -u JOBS/run.py --submission '/results/lr depth/slurm/20261122-1200-runs-1a2b' --after "$code"
case $? in 0 | 2) exit "$code" ;; esac # recorded, or reported by Python
echo "error: cannot record exit code $code, because Python did not start on $SLURMD_NODENAME" >&2
job=$(scontrol -o show job "$SLURM_JOB_ID")
if [ "${SLURM_RESTART_COUNT:-0}" -lt 2 ] && [[ $job == *JobState=RUNNING* ]]; then
    trap '' HUP INT TERM
    excluded=$SLURMD_NODENAME known='ExcNodeList=([^ (]+)'
    if [[ $job =~ $known ]]; then excluded+=,${BASH_REMATCH[1]}; fi
    scontrol requeue "$SLURM_JOB_ID"
    scontrol update JobId="$SLURM_JOB_ID" ExcNodeList="$excluded"
fi
exit "$code"