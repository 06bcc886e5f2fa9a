"""Exit codes of training, worker and job scripts, numbered as in ``sysexits.h``."""

USER_ERROR = 2
LEASE_HELD = 69  # EX_UNAVAILABLE: another process is training the run
STORAGE_ERROR = 74  # EX_IOERR: files cannot be read or written
BAD_NODE = 75  # EX_TEMPFAIL: this node is unfit, another may not be
