"""`python -m midalign`, the same as `midalign`."""

from midalign.cli import main

main()
