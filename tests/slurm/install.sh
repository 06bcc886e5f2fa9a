#!/bin/sh
# Install Debian's (or Ubuntu's) Slurm and munge for the throw-away cluster of the tests, if that is
# possible here and needed; `install.sh accounting` installs slurmdbd and MariaDB too. Nothing is
# started. It never fails: where it may not or cannot, it says so, and the tests that need Slurm say
# what they miss.
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
    echo "no Slurm here, and only root on Debian or Ubuntu can install it (missing:$missing)"
    exit 0
fi

echo "installing Slurm's packages for the tests ..."
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made=
trap 'rm -f "$log"; [ -z "$made" ] || rm -f "$policy"' EXIT
trap 'exit 130' INT TERM
if ! [ -e "$policy" ]; then
    # Debian asks this file before it starts a service of a new package; 101 means no.
    made=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
install() {
    # shellcheck disable=SC2086 # one word a package
    timeout 300 apt-get -q -y -o DPkg::Lock::Timeout=120 install --no-install-recommends \
        $packages >>"$log" 2>&1 </dev/null
}
# A fresh machine has no package lists, or old ones.
if ! install; then
    timeout 300 apt-get -q update >>"$log" 2>&1 </dev/null
    if ! install; then
        tail -n 5 "$log"
        echo "Slurm's packages could not be installed"
    fi
fi
exit 0
