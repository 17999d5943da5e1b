"""`python -m pluralign` is `pluralign`."""

from pluralign.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
