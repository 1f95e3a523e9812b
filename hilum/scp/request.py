"""What a service handler is given: a request, the association it came on, the node's services."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hilum.core.peer import Peer
from hilum.scp.association import Association, Context, TimeLimits
from hilum.scp.command import Command
from hilum.services.commitment import Commitments
from hilum.services.crossing import Crossing
from hilum.services.ingest import Ingest, Receipt
from hilum.services.retrieve import Retrieve
from hilum.services.search import Search

#: Behind this many, receipts of what can be found by now are forgotten.
_RECEIPTS_KEPT = 100


@dataclass(frozen=True, slots=True)
class Services:
    """What an association may ask of the node."""

    ae_title: str
    ingest: Ingest
    search: Search
    retrieve: Retrieve
    commitments: Commitments
    crossing: Crossing
    destination: Callable[[str], Peer | None]
    """Finds the destination of a C-MOVE, or whom to report to, by its AE title."""
    limits: TimeLimits
    visible_seconds: float = 10.0
    """How long a release, or a query behind a store, waits for the index."""


@dataclass(slots=True)
class Stored:
    """What an association has stored and the index may not have yet."""

    receipts: list[Receipt] = field(default_factory=list)

    def add(self, receipt: Receipt) -> None:
        """Remember an acknowledged instance."""
        if len(self.receipts) >= _RECEIPTS_KEPT:
            self.receipts = [known for known in self.receipts if not known.outcome.done()]
        self.receipts.append(receipt)

    def await_visible(self, services: Services) -> bool:
        """Wait until queries find all of it; False if the time ran out first."""
        visible = services.ingest.wait_visible(self.receipts, services.visible_seconds)
        if visible:
            self.receipts.clear()
        return visible


@dataclass(frozen=True, slots=True)
class Request:
    """One request, to be answered by its handler."""

    association: Association
    context: Context
    command: Command
    services: Services
    stored: Stored

    @property
    def message_id(self) -> int:
        """The id that responses and a C-CANCEL refer to."""
        return self.command.message_id or 0

    def option(self, position: int) -> bool:
        """Whether extended negotiation granted an option of the request's SOP class."""
        options = self.association.options.get(self.context.abstract_syntax, b"")
        return position < len(options) and options[position] == 1

    def respond(self, response: Command, identifier: bytes = b"") -> None:
        """Send a response."""
        self.association.send(self.context, response, identifier)

    def respond_all(
        self, response: Command, identifiers: Iterable[bytes], final: Command | None = None
    ) -> None:
        """Send the same response once with each identifier, and the final one if it is known."""
        self.association.send_all(self.context, response, identifiers, final)
