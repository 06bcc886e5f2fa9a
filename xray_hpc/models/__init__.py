"""The networks: what there is to choose from, and how each is built."""
