"""The tables of the catalog: their schemas, and a file for each that is more than columns."""
