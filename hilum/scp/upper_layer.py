"""The DICOM upper layer in the data phase: P-DATA, release and abort (PS3.8 9).

Negotiation is done by the time this layer works (`acceptor`, `requestor`); the PDUs of
negotiation are pynetdicom's. Here there are three PDU types and one rule: a presentation
data value may be cut anywhere, so nothing is assembled that need not be.
"""

import struct
        self.send_all(context_id, [(command, data_set)])

    def send_all(self, context_id: int, messages: Iterable[tuple[bytes, bytes]]) -> None:
        """Send messages, each a command set and a data set, in as few writes as will do."""
        pdus = bytearray()
        for command, data_set in messages:
            pdus += self.encode(context_id, command, data_set)
            if len(pdus) >= _LARGEST_PDU_BYTES:
                self.wire.write(pdus)
                pdus = bytearray()
        if pdus:
            self.wire.write(pdus)

    def encode(self, context_id: int, command: bytes, data_set: bytes = b"") -> bytearray:
        """Return the PDUs of a message, or of its command set alone."""
        message = bytearray()
        for part, is_command in ((command, True), (data_set, False)):
            for start in range(0, len(part), self.fragment_bytes):
                fragment = part[start : start + self.fragment_bytes]
                is_last = start + len(fragment) == len(part)
                message += p_data_head(
                    context_id, is_command=is_command, is_last=is_last, size_bytes=len(fragment)
                )
                message += fragment
        return message

    def request_release(self) -> None:
        """Ask for the end of the association and wait for the answer (PS3.8 7.2)."""
        self.wire.write(_RELEASE_RQ)
        while True:
            pdu_type, length = read_pdu_header(self.wire)
            if pdu_type == PduType.RELEASE_RP:
                return
            if pdu_type == PduType.RELEASE_RQ:  # both at once: a release collision
                self._read_short(length)
                self.wire.write(_RELEASE_RP)
            elif pdu_type == PduType.DATA:
                self._discard(length)
            else:
                self._end(pdu_type, length)

    def answer_release(self) -> None:
        """Agree to the end of the association."""
        self.wire.write(_RELEASE_RP)

    def _end(self, pdu_type: int, length: int) -> None:
        """Raise what a PDU other than P-DATA means."""
        if pdu_type == PduType.RELEASE_RQ:
            self._read_short(length)
            raise ReleaseRequested("the peer asks to release the association")
        if pdu_type == PduType.ABORT:
            body = self._read_short(length)
            raise PeerAborted(f"the peer aborted (source {body[2]}, reason {body[3]})")
        if pdu_type in set(PduType):
            raise ProtocolViolation(
                f"unexpected {PduType(pdu_type).name} PDU", AbortReason.UNEXPECTED_PDU
            )
        raise ProtocolViolation(f"unknown PDU type {pdu_type:#04x}", AbortReason.UNRECOGNIZED_PDU)

    def _read_short(self, length: int) -> bytes:
        if length != _SHORT_PDU_BYTES:
            raise ProtocolViolation(f"a release or abort PDU of {length} bytes")
        return self.wire.read(length)

    def _discard(self, length: int) -> None:
        while length:
            length -= len(self.wire.read_some(length))
