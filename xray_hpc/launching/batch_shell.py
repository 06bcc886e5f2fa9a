"""Shell functions of batch scripts: the lines before a task, and what follows its end."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

from xray_hpc.config.secret_values import mask_text
from xray_hpc.records import exit_codes
from xray_hpc.records.paths import EXIT_CODE, UNRECORDED_END

FEATURES_STARTS = 10
# Starts of a job on a node where Python does not start, and so cannot apply cluster.on_failure.
UNRECORDED_STARTS = 3

# $? is the exit code of the Python that was to record the end. A requeue signals this shell.
NOT_RECORDED = """\
    case $? in 0 | 2) exit "$code" ;; esac # recorded, or reported by Python
    error="exit code $code, and Python did not start on $SLURMD_NODENAME${3:+; $3}"
    echo "error: $error" >&2
    echo "$error" >NOTE."${SLURM_ARRAY_TASK_ID:-0}\""""
TRY_ANOTHER_NODE = """\
    job=$(scontrol -o show job "$SLURM_JOB_ID")
    excluded=$SLURMD_NODENAME known='ExcNodeList=([^ (]+)'
    if [[ $job =~ $known ]]; then excluded+=,${BASH_REMATCH[1]}; fi
    others=$(sinfo -h -N -p "$SLURM_JOB_PARTITION" -o %N |
        grep -vxF "$(scontrol show hostnames "$excluded")")
    if [ "${SLURM_RESTART_COUNT:-0}" -lt LAST ] && [ "$others" ] &&
        [[ $job == *JobState=RUNNING* ]]; then
        trap '' HUP INT TERM
        scontrol requeue "$SLURM_JOB_ID"
        scontrol update JobId="$SLURM_JOB_ID" ExcNodeList="$excluded"
    fi"""

SETUP_FAILED = """\
setup_failed() {
    trap - ERR EXIT
    set +e
    exec 2>&1
    cat "$setup_stderr"
    reason=$(sed -E 's,^[^ ]*/slurm_script: (eval: )?line [0-9]+: ,,' "$setup_stderr" | head -c 300)
    rm -f "$setup_stderr"
    error="cluster.setup: '$setup_line' ended with exit code $setup_code${reason:+: $reason}"
    error=$(tr -s '[:space:]' ' ' <<<"$error")
    echo "error: $error"
    conclude CODE --setup-error "$error"
}"""
# In this shell, not in a function: a line may load modules, change the folder or declare variables.
RUN_SETUP = """\
trap 'setup_code=$?; [ ${#BASH_SOURCE[@]} -gt 1 ] || setup_failed' ERR # not in a sourced file
trap 'setup_code=$?; setup_failed' EXIT
for setup_line in \\
    LINES
do
    eval "$setup_line" 2>"$setup_stderr"
    cat "$setup_stderr" >&2
done
rm -f "$setup_stderr"
trap - ERR
case $(trap -p EXIT) in *setup_failed*) trap - EXIT ;; esac
set +e"""


def checked_setup(lines: Sequence[str], folder: Path) -> list[str]:
    """Return the shell text that runs the lines of ``cluster.setup``, in a file in ``folder``.

    The first command that fails, or that ends the script, is reported and ends the attempt.
    """
    if not lines:
        return []
    failed = SETUP_FAILED.replace("CODE", str(exit_codes.BAD_NODE))
    if secrets := {line: masked for line in lines if (masked := mask_text(line)) != line}:
        # The error is stored in a file that others may read.
        cases = [
            f"        {quote(line)}) setup_line={quote(at)} ;;" for line, at in secrets.items()
        ]
        masking = "\n".join(['    case "$setup_line" in', *cases, "    esac", "    exec 2>&1"])
        failed = failed.replace("    exec 2>&1", masking)
    run = RUN_SETUP.replace("LINES", " \\\n    ".join(map(quote, lines)))
    stderr = f'setup_stderr={quote(str(folder))}/setup-stderr."$SLURM_JOB_ID"'
    return [failed, stderr, run]


def conclude_run(command: str, folder: Path, *, try_another_node: bool) -> list[str]:
    """Return the shell function that records the end of a task, and requeues its job if needed.

    Where Python does not start for ``command``, a file in ``folder`` says so, and the job is
    requeued on another node.
    """
    another = [TRY_ANOTHER_NODE.replace("LAST", str(UNRECORDED_STARTS - 1))]
    return [
        "conclude() { # CODE [OPTION VALUE]",
        "    code=$1",
        '    [ "$code" -ne 0 ] || exit 0',
        "    trap : HUP INT TERM # of a requeue, which also signals this shell",
        f'    {command} --after "$@"',
        NOT_RECORDED.replace("NOTE", quote(str(folder / UNRECORDED_END))),
        *(another if try_another_node else []),
        '    exit "$code"',
        "}",
    ]


def conclude_features(folder: Path) -> list[str]:
    """Return the shell function that requeues a features job which is out of time.

    No worker does that for it. Otherwise it writes the exit code to a file in ``folder``.
    """
    return [
        "conclude() {",
        f'    if [ "$1" -eq {128 + signal.SIGUSR2} ] &&',
        f'        [ "${{SLURM_RESTART_COUNT:-0}}" -lt {FEATURES_STARTS - 1} ]; then',
        '        scontrol requeue "$SLURM_JOB_ID"',
        '        exit "$1"',
        "    fi",
        f'    echo "$1" >{quote(str(folder / EXIT_CODE))}',
        '    exit "$1"',
        "}",
    ]
