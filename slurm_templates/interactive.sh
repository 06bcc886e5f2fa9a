#!/bin/bash
# A shell, or one command, on a GPU node of a Slurm cluster. Run it on the login node, in the folder
# that you want to work in.
set -eu

usage() {
    cat <<'END'
usage: slurm_templates/interactive.sh [srun option ...] [command [argument ...]]

    slurm_templates/interactive.sh                                  a shell on a GPU node
    slurm_templates/interactive.sh --partition=NAME --account=NAME  where the site wants them
    slurm_templates/interactive.sh python -m xray_hpc.train model=ft

Write each srun option as one word, with "=". What it asks for, unless an option or the environment
says otherwise:

    XRAY_HPC_GPUS=1         GPUs; 0 asks for none
    XRAY_HPC_CPUS=4         CPUs
    XRAY_HPC_MEM=16G        memory of the node
    XRAY_HPC_TIME=01:00:00  hours:minutes:seconds

The session ends with the shell or the command, and its exit code is the command's.
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

command -v srun >/dev/null || stop "no srun here; run this on a login node of a Slurm cluster"
[ -z "${SLURM_JOB_ID:-}" ] || stop "this is job $SLURM_JOB_ID already; run the command right here"
# A command of a script or a pipe has no terminal to hand on.
if [ -t 0 ] && [ -t 1 ]; then options+=(--pty); fi
if [ $# -eq 0 ]; then set -- bash -l; fi
exec srun "${options[@]}" "$@"
