"""The wall between measuring and reading: runs written to, and read from, Zarr."""
