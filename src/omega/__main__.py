"""`python -m omega`: the command line without the console script."""

from omega.cli import main

if __name__ == "__main__":
    main()
