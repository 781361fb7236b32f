"""Entry point: parse arguments, serve. A Hugging Face Space starts this file."""

import argparse
import sys

from demo import server
from recon import InputError


def main() -> int:
    """Serve the page until interrupted; the exit status."""
    parser = argparse.ArgumentParser(description="Open the page in which photos become a scene.")
    server.add_arguments(parser)
    try:
        return server.run(parser.parse_args())
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
