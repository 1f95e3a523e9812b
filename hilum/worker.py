"""One worker of a node that has several; started by `hilum.supervisor`.

``python -m hilum.worker``. Orders come on standard input, and reports go where standard
output was; it ends at SIGTERM, or with its supervisor.
"""

import asyncio
import os
import socket
import sys

from hilum.config import logging
from hilum.core.errors import HilumError, Invalid
from hilum.http.colleagues import Colleagues
from hilum.index.changes import Changes
from hilum.lifetime import run_until_told
from hilum.node import serving
from hilum.premises import Listeners
from hilum.scp.shares import Shares
from hilum.supervisor import Orders, Report


def main() -> None:
    """Serve until told to stop; exit 0 then, and 1 for what was reported."""
    orders = Orders.model_validate_json(sys.stdin.readline())
    settings = orders.settings
    logging.configure(settings.log.format, settings.log.level, worker=orders.number)
    reports = _reports()

    def report(report: Report) -> None:
        os.write(reports, report.model_dump_json().encode() + b"\n")

    listeners = Listeners(
        dicom=socket.socket(fileno=orders.dicom_descriptor),
        http=socket.socket(fileno=orders.http_descriptor),
    )
    shares = Shares(settings.workers, orders.shares_descriptor)
    changes = Changes(orders.changes_descriptor)
    colleagues = Colleagues(orders.channel, orders.number, settings.workers)
    try:
        asyncio.run(
            run_until_told(
                serving(settings, listeners, colleagues, (shares, orders.number), changes),
                when_ready=lambda: report(Report()),
                patient=True,
            )
        )
    except HilumError as error:
        report(Report(fault=str(error), heals=not isinstance(error, Invalid)))
        sys.exit(1)


def _reports() -> int:
    """Return where reports go; whatever else is printed goes to standard error instead."""
    reports = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return reports


if __name__ == "__main__":
    main()
