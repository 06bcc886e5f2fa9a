#!/bin/bash
# Run a command in a container, and on the node the Slurm commands that it requests: images
# usually lack Slurm's programs. The launch puts this before cluster.container:
#
#     slurm_proxy.sh FOLDER apptainer exec --nv image.sif python ...
#
# FOLDER must have the same path in the container. The exit code is that of the command.
# xray_hpc/slurm/proxy.py writes each request as a bash script, and then its name into a pipe.

folder=$(mktemp -d "$1/.slurm-proxy.XXXXXX") && mkfifo "$folder/requests" || exit 74
shift
signals='HUP INT TERM USR1 USR2'

exec 3<>"$folder/requests"
(
    # At the end of a job Slurm may signal all processes; the command still has requests then.
    trap '' $signals
    while read -r name <&3; do
        {
            bash "$folder/$name" <"$folder/$name.in" >"$folder/$name.out" 2>"$folder/$name.err"
            echo $? >"$folder/$name.tmp"
            mv "$folder/$name.tmp" "$folder/$name.code"
        } 3<&- &
    done
) &
proxy=$!
disown "$proxy"
exec 3<&-

env XRAY_HPC_SLURM_PROXY="$folder" "$@" &
command=$!
# Slurm may signal this shell only. A signal also ends `wait` early.
for signal in $signals; do
    trap "signalled=1; kill -s $signal $command 2>/dev/null" "$signal"
done
signalled=1
while [ "$signalled" ]; do
    signalled=
    wait "$command"
    code=$?
done

kill -KILL "$proxy"
rm -rf "$folder"
exit "$code"
