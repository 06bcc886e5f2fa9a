"""The files on which launching, training and collecting meet."""
