"""Entry point of ``python -m readmission`` and of the installed command."""

import signal


def run() -> None:
    """Run the command line; Ctrl-C while its modules are imported ends it without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # unless SIGINT is ignored, as under nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from readmission.cli.main import main

    signal.signal(signal.SIGINT, handler)
    main()


if __name__ == "__main__":
    run()
