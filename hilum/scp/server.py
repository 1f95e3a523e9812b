"""The listening application entity: one thread accepts, one serves each association.

Threads wait in the kernel, not in a loop: a thousand idle associations cost no processor
time. How many there may be is a setting and counts associations, not connections; those
that stay silent are closed by the ARTIM timer.
"""

import select
import socket
import threading
import time
from functools import partial
from typing import Final

import structlog

from hilum.core.listening import listen
from hilum.scp.acceptor import Admission, accept
from hilum.scp.association import Association
from hilum.scp.request import Services
from hilum.scp.session import Session
from hilum.scp.shares import Shares
from hilum.scp.upper_layer import ProtocolViolation, abort_pdu
from hilum.scp.wire import AssociationLost, Wire

log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.05
#: How long a connection is left to a process with fewer of them. More than that one needs
#: to take it, and for one that hangs too short for a sender to notice.
_DEFERENCE_SECONDS: Final = 0.03
_DEFERENCE_POLL_SECONDS: Final = 0.0005
#: How long the listening thread may take to notice that the node stops.
_ACCEPT_SECONDS: Final = 0.25
#: When the node stops, who has asked for nothing this long is not kept waiting for.
_IDLE_SECONDS: Final = 1.0
_ABORT_LINGER_SECONDS: Final = 2.0


class Server:
    """Listens for associations and serves them.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    admission
        Whom to let in.
    services
        What to serve them with.
    maximum_associations
        More than these at a time are rejected, transiently (PS3.8 9.3.4: 2/3/2).
    listener
        A socket that listens there already, and that other processes may share.
    shares
        How many connections those other processes have, and the place of this one among
        them: so that associations spread evenly.
    """

    def __init__(
        self,
        host: str,
        port: int,
        admission: Admission,
        services: Services,
        maximum_associations: int = 1000,
        listener: socket.socket | None = None,
        shares: tuple[Shares, int] | None = None,
    ) -> None:
        self._listener = listener
        self._shares = shares
        self._host = host
        self.port = port
        """Where connections are taken, once started."""
        self._admission = admission
        self._services = services
        self._maximum_associations = maximum_associations
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._connections: set[Wire] = set()
        self._admitted: set[Wire] = set()
        self._sessions: set[Session] = set()
        self._stopping = False

    @property
    def associations(self) -> int:
        """How many associations there are."""
        return len(self._admitted)

    @property
    def connections(self) -> int:
        """How many connections there are, those without an association included."""
        return len(self._connections)

    def start(self) -> None:
        """Listen; return when connections are taken.

        Raises
        ------
        Invalid
            The address cannot be listened on.
        """
        listener = self._listener or listen(self._host, self.port, "DICOM")
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._listen, args=(listener,), name="dicom-listener", daemon=True
        )
        self._tell()
        self._thread.start()
        log.info(
            "listening for DICOM",
            ae_title=self._admission.ae_title,
            host=self._host,
            port=self.port,
        )

    def stop(self, drain_seconds: float = 10.0) -> None:
        """Take no more associations, let running ones finish, abort what is left.

        An association that asks for nothing is not waited for; one in the middle of
        something is, for `drain_seconds`.
        """
        self._stopping = True
        self._tell()
        if self._thread is not None:
            self._thread.join()
        until = time.monotonic() + drain_seconds
        while time.monotonic() < until and self._sessions:
            for session in self._snapshot():
                session.close_if_idle(_IDLE_SECONDS)
            time.sleep(_POLL_SECONDS)
        for session in self._snapshot():
            session.close()
        with self._lock:
            connections = list(self._connections)
        for wire in connections:
            wire.interrupt()
        until = time.monotonic() + _ABORT_LINGER_SECONDS
        while time.monotonic() < until and self._connections:
            time.sleep(_POLL_SECONDS)

    def _snapshot(self) -> list[Session]:
        with self._lock:
            return list(self._sessions)

    def _listen(self, listener: socket.socket) -> None:
        arrivals = select.poll()
        arrivals.register(listener, select.POLLIN)
        with listener:
            while not self._stopping:
                if arrivals.poll(_ACCEPT_SECONDS * 1000):
                    self._defer(arrivals)
                try:
                    connection, address = listener.accept()
                    wire = Wire(connection)
                except BlockingIOError:
                    continue  # nobody came, or another process was faster
                except OSError as error:
                    # No descriptor left, or the connection went before it was taken.
                    log.warning("connection not taken", reason=error.strerror)
                    time.sleep(_POLL_SECONDS)
                    continue
                with self._lock:
                    self._connections.add(wire)
                    self._tell()
                threading.Thread(
                    target=self._serve,
                    args=(wire, f"{address[0]}:{address[1]}"),
                    name=f"association-{address[0]}:{address[1]}",
                    daemon=True,
                ).start()

    def _defer(self, arrivals: select.poll) -> None:
        """Leave the connection that waits to a process with fewer, for a moment."""
        if self._shares is None:
            return
        shares, _ = self._shares
        until = time.monotonic() + _DEFERENCE_SECONDS
        while shares.fewest() < len(self._connections) and time.monotonic() < until:
            time.sleep(_DEFERENCE_POLL_SECONDS)
            if not arrivals.poll(0):  # taken
                return

    def _tell(self) -> None:
        if self._shares is not None:
            shares, place = self._shares
            if self._stopping:
                shares.leave(place)
            else:
                shares.tell(place, len(self._connections))

    def _serve(self, wire: Wire, address: str) -> None:
        try:
            association = self._negotiate(wire, address)
            if association is not None:
                self._run(Session(association, self._services))
        finally:
            wire.close()
            with self._lock:
                self._connections.discard(wire)
                self._admitted.discard(wire)
                self._tell()

    def _negotiate(self, wire: Wire, address: str) -> Association | None:
        try:
            return accept(
                wire, address, self._admission, self._services.limits, partial(self._admit, wire)
            )
        except ProtocolViolation as violation:
            log.warning("no association", address=address, reason=str(violation))
            try:
                wire.write(abort_pdu(2, violation.reason))
                wire.hang_up(_ABORT_LINGER_SECONDS)
            except AssociationLost as loss:
                log.debug("connection lost", address=address, reason=str(loss))
        except AssociationLost as loss:
            # Port probes, load balancers, and rejections, which have their own line.
            log.debug("no association", address=address, reason=str(loss))
        return None

    def _admit(self, wire: Wire) -> bool:
        """Give the association on `wire` a place, if there is one; before it is accepted.

        Its peer may ask for the next as soon as it hears of this one.
        """
        with self._lock:
            if self._stopping or len(self._admitted) >= self._maximum_associations:
                return False
            self._admitted.add(wire)
            return True

    def _run(self, session: Session) -> None:
        with self._lock:
            self._sessions.add(session)
        try:
            session.serve()
        finally:
            with self._lock:
                self._sessions.discard(session)
