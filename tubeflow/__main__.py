"""`python -m tubeflow`, as the `tubeflow` program."""

from tubeflow import main

main()
