"""A pack: the one HDF5 file of a dataset that training reads, and the loader of its batches."""
