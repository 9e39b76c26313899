"""python -m deblurlab"""

from deblurlab.cli.main import main

if __name__ == "__main__":
    main()
