"""Accounting for the throw-away cluster: MariaDB, slurmdbd, accounts and QOS.

The default account ``lab`` has no limits. The account ``few`` and the QOS ``few`` each accept at
most ``SUBMIT_LIMIT`` jobs of a user at once. Slurm refuses unknown accounts and QOS.
"""

from __future__ import annotations

import getpass

from tests.slurm.daemons import Daemons

PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb", "mariadb-admin", "mariadb-install-db")
SUBMIT_LIMIT = 20


def start(daemons: Daemons, cluster: str) -> None:
    """Start the database and slurmdbd, and add the cluster, the accounts and the QOS.

    Requires a running munged, slurm.conf and slurmdbd.conf.
    """
    _start_database(daemons)
    daemons.start("slurmdbd")
    sacctmgr = ("sacctmgr", "--immediate", "--quiet")
    query = ("sacctmgr", "--noheader", "show", "cluster")
    daemons.wait_until(lambda: daemons.run(*query).returncode == 0, 30, "slurmdbd to answer")
    user = getpass.getuser()
    daemons.check_run(*sacctmgr, "add", "cluster", cluster)
    daemons.check_run(*sacctmgr, "add", "qos", "few", f"MaxSubmitJobsPerUser={SUBMIT_LIMIT}")
    daemons.check_run(*sacctmgr, "add", "account", "lab,few", "DefaultQOS=normal", "QOS=normal,few")
    daemons.check_run(*sacctmgr, "add", "user", user, "account=lab,few", "DefaultAccount=lab")
    limit = f"MaxSubmitJobs={SUBMIT_LIMIT}"
    daemons.check_run(*sacctmgr, "modify", "user", user, "where", "account=few", "set", limit)


def _start_database(daemons: Daemons) -> None:
    folder = daemons.folder
    data, socket = folder / "mysql", folder / "mysql.socket"
    daemons.check_run(
        "mariadb-install-db",
        "--no-defaults",
        f"--user={getpass.getuser()}",
        f"--datadir={data}",
        "--skip-test-db",
        "--auth-root-authentication-method=socket",
    )
    daemons.spawn(
        "mariadbd",
        "mariadbd",
        "--no-defaults",
        f"--user={getpass.getuser()}",
        f"--datadir={data}",
        f"--socket={socket}",
        "--skip-networking",
        # The data need not survive the cluster: do not wait for the disk.
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
    )
    ping = ("mariadb-admin", "--no-defaults", f"--socket={socket}", "ping")
    daemons.wait_until(lambda: daemons.run(*ping).returncode == 0, 30, "MariaDB to answer")
