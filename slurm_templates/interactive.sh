#!/bin/bash
# Open a shell, or run one command, on a GPU node of a Slurm cluster. Run this on the login node, in
# the folder that you want to work in.
set -eu

usage() {
    cat <<'END'
usage: slurm_templates/interactive.sh [srun option ...] [command [argument ...]]

    slurm_templates/interactive.sh                                  a shell on a GPU node
    slurm_templates/interactive.sh --partition=NAME --account=NAME  where the site requires them
    slurm_templates/interactive.sh python -m xray_hpc.train model=ft

Write each srun option as one word, with "=". The defaults, unless an option or the environment
overrides them:

    XRAY_HPC_GPUS=1         GPUs; 0 for none
    XRAY_HPC_CPUS=4         CPUs
    XRAY_HPC_MEM=16G        memory of the node
    XRAY_HPC_TIME=01:00:00  hours:minutes:seconds

The exit code is that of the shell or the command.
END
}

stop() { echo "error: $*" >&2; exit 2; }

options=(
    --job-name=xray-interactive
    --nodes=1
    --ntasks=1
    --cpus-per-task="${XRAY_HPC_CPUS:-4}"
    --mem="${XRAY_HPC_MEM:-16G}"
    --time="${XRAY_HPC_TIME:-01:00:00}"
)
if [ "${XRAY_HPC_GPUS:-1}" != 0 ]; then options+=(--gres="gpu:${XRAY_HPC_GPUS:-1}"); fi
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        -*) options+=("$1"); shift ;;
        *) break ;;
    esac
done

command -v srun >/dev/null || stop "No Slurm cluster found on this host; run this on a login node"
[ -z "${SLURM_JOB_ID:-}" ] || stop "already in job $SLURM_JOB_ID; run the command directly"
# srun --pty fails without a terminal.
if [ -t 0 ] && [ -t 1 ]; then options+=(--pty); fi
if [ $# -eq 0 ]; then set -- bash -l; fi
exec srun "${options[@]}" "$@"
