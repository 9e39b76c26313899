"""Entry point of `python -m deblurlab`."""

from deblurlab.cli import main

if __name__ == "__main__":
    main()
