"""Exit codes that a training, its worker and the script of a job agree on, as ``sysexits.h``."""

USER_ERROR = 2
LEASE_HELD = 69  # EX_UNAVAILABLE: another process trains the run
STORAGE_ERROR = 74  # EX_IOERR: files cannot be written or read
BAD_NODE = 75  # EX_TEMPFAIL: this node cannot do it, another may
