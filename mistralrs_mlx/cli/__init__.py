"""The command line: `run` answers or chats, `serve` answers over HTTP, `bench` measures.

It stands before the package as any user does and imports nothing but what `mistralrs_mlx` exports.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from .arguments import parser
from .complaint import MISTAKES, complain

__all__ = ["main"]

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status of the process."""
    options = parser().parse_args(argv)
    try:
        _carry_out(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MISTAKES as error:
        complain(error)
        return 1
    return 0


def _carry_out(options: argparse.Namespace) -> None:
    """Import what the command needs, and no more: --help should not wait for MLX."""
    if options.command == "doctor":
        from .doctor import doctor

        doctor(options)
    elif options.command == "bench":
        from .bench import bench

        bench(options)
    elif options.command == "serve":
        from .serve import serve

        serve(options)
    else:
        from .run import run

        run(options)
