"""Makes ``python -m convert`` the same command as ``featherweight``."""

from convert.cli import main

main()
