#!/bin/sh
# Install Debian's (or Ubuntu's) Slurm and munge for the tests' throw-away cluster, if they are missing
# and can be installed; `install.sh accounting` also installs slurmdbd and MariaDB. It starts nothing.
# It never fails: if it cannot install, it prints why, and the Slurm tests name what is missing.
set -u
PATH=$PATH:/usr/sbin:/sbin

programs="munged slurmctld slurmd sbatch"
packages="munge slurmctld slurmd slurm-client"
accounting=${1:-}
if [ "$accounting" = accounting ]; then
    programs="$programs slurmdbd mariadbd"
    packages="$packages slurmdbd mariadb-server"
fi

missing=
for program in $programs; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
[ -n "$missing" ] || exit 0
if command -v sinfo >/dev/null && sinfo -h >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Slurm is not installed, and only root on Debian or Ubuntu can install it (missing:$missing)"
    exit 0
fi

echo "installing Slurm's packages for the tests ..."
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
created=
trap 'rm -f "$log"; [ -z "$created" ] || rm -f "$policy"' EXIT
trap 'exit 130' INT TERM
if ! [ -e "$policy" ]; then
    # Debian runs this script before it starts the service of a new package; 101 forbids that.
    created=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install() {
    # shellcheck disable=SC2086 # one word a package
    timeout 300 apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends \
        $packages >>"$log" 2>&1 </dev/null
}
# A fresh machine may have no package lists, or old ones.
if ! install; then
    timeout 300 apt-get -q update >>"$log" 2>&1 </dev/null
    if ! install; then
        tail -n 5 "$log"
        echo "cannot install Slurm's packages"
    fi
fi
exit 0
