"""Exit codes that a training, its worker and the script of a job agree on, as ``sysexits.h``."""

WRONG_INPUT = 2
HELD = 69  # EX_UNAVAILABLE: another process trains the run
STORAGE = 74  # EX_IOERR: files cannot be written or read
UNFIT_NODE = 75  # EX_TEMPFAIL: this node cannot do it, another may
