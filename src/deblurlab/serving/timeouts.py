"""Timeouts of connections that send or receive nothing."""

from asyncio import BaseTransport, TimerHandle, Transport
from typing import ClassVar, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from deblurlab._compat import response_in_progress


class TimeoutProtocol(H11Protocol):
    """HTTP protocol that closes a connection after `seconds` without a complete request head or without progress.

    Two timers run: one from the end of a response to the head of the next request, one while the send buffer is full.
    """

    seconds: ClassVar[float]

    def connection_made(self, transport: BaseTransport) -> None:
        """Start the timers."""
        super().connection_made(cast("Transport", transport))
        self._head_timer = self._write_timer = self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._head_timer.cancel()
        self._write_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the timer of the request head when the head is complete."""
        super().data_received(data)
        self._stop_head_timer()

    def on_response_complete(self) -> None:
        """Restart the timer of the request head."""
        self._head_timer.cancel()
        self._head_timer = self._start_timer()
        super().on_response_complete()
        self._stop_head_timer()  # the next request may have arrived already

    def pause_writing(self) -> None:
        """Start the timer of the response: the send buffer is full."""
        super().pause_writing()
        self._write_timer.cancel()
        self._write_timer = self._start_timer()

    def resume_writing(self) -> None:
        """Stop the timer of the response: the client has read from the send buffer."""
        super().resume_writing()
        self._write_timer.cancel()

    def _stop_head_timer(self) -> None:
        if response_in_progress(self):
            self._head_timer.cancel()

    def _start_timer(self) -> TimerHandle:
        return self.loop.call_later(self.seconds, self.transport.abort)
