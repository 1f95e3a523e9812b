"""The program `hilum` from its first moment on; ``python -m hilum`` is the same."""

import signal


def main() -> None:
    """Run the program and exit."""
    # Loading it takes a moment, and a Ctrl-C in it would end in a traceback of imports.
    interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from hilum import cli  # noqa: PLC0415

    signal.signal(signal.SIGINT, interrupt)
    cli.main()


if __name__ == "__main__":
    main()
