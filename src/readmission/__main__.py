"""``python -m readmission``."""

from readmission.cli import main

main()
