"""Fetch, verify and unpack one MovieLens data set; no Spark.

    ./spark-submit.sh jobs/download_movielens.py SIZE [--to DIR] [--url BASE] [--verbose]

DIR is the project's folder data by default. Exit codes: 0 ready, 1 failed, 2 wrong command line, 130 stopped.
"""

import argparse
import sys
import traceback
import zipfile
from pathlib import Path
from typing import NoReturn

import requests

from pipeline.config import ROOT
from pipeline.data.download import BASE_URL, UNPACKED_MB, download


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; a failure is one line on stderr."""
    options = parse_options(arguments)
    try:
        print(download(options.size, options.to, options.url))
        return 0
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return 130
    except (OSError, zipfile.BadZipFile) as error:
        if options.verbose:
            traceback.print_exc()
        hint = "; check --url and the proxy variables" if isinstance(error, requests.RequestException) else ""
        hint = "; name another folder with --to DIR" if getattr(error, "errno", None) else hint
        print("error:", " ".join(f"{error}{hint}".split()), file=sys.stderr)
        return 1


class Parser(argparse.ArgumentParser):
    """A parser to which a mistake is one line."""

    def error(self, message: str) -> NoReturn:
        """Say what was wrong and exit with 2."""
        self.exit(2, f"error: {message}; {self.prog} --help lists what there is\n")


def parse_options(arguments: list[str] | None) -> argparse.Namespace:
    """Return size, to, url, verbose; a mistake is one line and exit code 2."""
    command = "./spark-submit.sh jobs/download_movielens.py"
    parser = Parser(prog=command, description="Fetch, verify and unpack one MovieLens data set.")
    parser.add_argument("size", metavar="SIZE", choices=UNPACKED_MB, help=" ".join(UNPACKED_MB))
    parser.add_argument("--to", metavar="DIR", type=Path, default=ROOT / "data", help="folder that gets ml-SIZE")
    parser.add_argument("--url", metavar="BASE", default=BASE_URL, help="where ml-SIZE.zip is (%(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show the stack trace of an error")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
