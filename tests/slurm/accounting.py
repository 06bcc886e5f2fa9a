"""Accounting for the throw-away cluster: a MariaDB and a slurmdbd of its own, and who may do what.

Whoever submits uses the account ``lab``, without limits. The account ``few`` and the QOS ``few``
take no more than ``SUBMIT_LIMIT`` of a user's jobs at a time; a QOS or an account that does not
exist is refused.
"""

from __future__ import annotations

import getpass

from tests.slurm.daemons import Daemons

PROGRAMS = ("slurmdbd", "sacctmgr", "mariadbd", "mariadb", "mariadb-admin", "mariadb-install-db")
SUBMIT_LIMIT = 20


def start(daemons: Daemons, cluster: str) -> None:
    """Bring up the database and slurmdbd, and enter the cluster, the accounts and the QOS.

    munge must answer, and slurm.conf and slurmdbd.conf must be there.
    """
    _start_database(daemons)
    daemons.start("slurmdbd")
    say = ("sacctmgr", "--immediate", "--quiet")
    asked = ("sacctmgr", "--noheader", "show", "cluster")
    daemons.until(lambda: daemons.ask(*asked).returncode == 0, 30, "slurmdbd to answer")
    user = getpass.getuser()
    daemons.tell(*say, "add", "cluster", cluster)
    daemons.tell(*say, "add", "qos", "few", f"MaxSubmitJobsPerUser={SUBMIT_LIMIT}")
    daemons.tell(*say, "add", "account", "lab,few", "DefaultQOS=normal", "QOS=normal,few")
    daemons.tell(*say, "add", "user", user, "account=lab,few", "DefaultAccount=lab")
    limit = f"MaxSubmitJobs={SUBMIT_LIMIT}"
    daemons.tell(*say, "modify", "user", user, "where", "account=few", "set", limit)


def _start_database(daemons: Daemons) -> None:
    folder = daemons.folder
    data, listening = folder / "mysql", folder / "mysql.socket"
    daemons.tell(
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
        f"--socket={listening}",
        "--skip-networking",
        # Nothing of it needs to outlive the cluster, so that no write waits for the disk.
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-lock-wait-timeout=900",
    )
    ping = ("mariadb-admin", "--no-defaults", f"--socket={listening}", "ping")
    daemons.until(lambda: daemons.ask(*ping).returncode == 0, 30, "MariaDB to answer")
