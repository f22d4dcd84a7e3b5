"""Parts of other people's packages: which there are, which a config asks for, and a package to begin one with."""
